use super::*;

#[tokio::test(flavor = "current_thread")]
async fn all_work_is_done_by_few_threads() {
    start().unwrap();
    let works: Vec<_> = (0..200).map(|number| submit(move || number * 2)).collect();
    for (number, work) in works.into_iter().enumerate() {
        assert_eq!(work.await.unwrap(), number * 2);
    }
    assert!(POOL.lock().threads <= MAX_THREADS);
    assert_eq!(run(|| 7).await.unwrap(), 7);
}

#[tokio::test(flavor = "current_thread")]
async fn what_takes_long_leaves_threads_for_what_is_quick() {
    start().unwrap();
    let (gate, closed) = std::sync::mpsc::channel::<()>();
    let closed = std::sync::Arc::new(Mutex::new(closed));
    let wait = |result: usize| {
        let closed = std::sync::Arc::clone(&closed);
        move || {
            // Until the gate goes.
            let _ = closed.lock().unwrap_or_else(PoisonError::into_inner).recv();
            result
        }
    };
    let long: Vec<_> = (0..2 * MAX_THREADS)
        .map(|number| {
            let wait = wait(number);
            submit_long(move |_| wait())
        })
        .collect();
    let writing: Vec<_> = (0..2 * MAX_THREADS).map(|number| submit_writing(wait(number))).collect();
    for number in 0..100 {
        assert_eq!(run(move || number).await.unwrap(), number);
    }
    drop(gate);
    for (number, work) in long.into_iter().chain(writing).enumerate() {
        assert_eq!(work.await.unwrap(), number % (2 * MAX_THREADS));
    }
}

#[tokio::test(flavor = "current_thread")]
async fn long_work_ends_when_nobody_waits_for_it() {
    start().unwrap();
    let (begun, begins) = oneshot::channel();
    let (ended, ends) = oneshot::channel();
    let work = submit_long(move |caller| {
        begun.send(caller.waits().is_ok()).unwrap();
        while caller.waits().is_ok() {
            std::thread::yield_now();
        }
        ended.send(()).unwrap();
    });
    assert!(begins.await.unwrap());
    drop(work);
    ends.await.unwrap();
}
