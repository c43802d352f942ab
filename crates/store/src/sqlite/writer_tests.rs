use tokio::sync::oneshot::Receiver;

use super::*;
use crate::sqlite::fault::Fault;

type Answer = Receiver<Result<(), StoreError>>;

fn thread(directory: &tempfile::TempDir) -> WriterThread {
    let connection = Connection::open(directory.path().join("t.sqlite")).unwrap();
    connection
        .execute_batch("PRAGMA journal_mode = wal; CREATE TABLE rows (n INTEGER, filler BLOB)")
        .unwrap();
    WriterThread { connection, feed: Feed::new(), faults: FaultPlan::none(), stats: Arc::default() }
}

/// An operation that writes `n` with so many bytes beside it, announces a webhook change, then ends as told.
fn job(n: i64, n_bytes: usize, end: Result<(), StoreError>) -> (Box<dyn Job>, Answer) {
    let (reply, answer) = oneshot::channel();
    let op = move |tx: &mut Tx<'_>| {
        tx.webhooks_changed();
        tx.execute("INSERT INTO rows VALUES (?, zeroblob(?))", [n, i64::try_from(n_bytes).unwrap()])?;
        end
    };
    (Box::new(Pending { op: Some(op), value: None, reply }), answer)
}

/// Runs the operations as one group; which rows are there afterwards, and which were answered with success.
fn run(thread: &WriterThread, jobs: Vec<(Box<dyn Job>, Answer)>) -> (Vec<i64>, Vec<bool>) {
    let (mut group, answers): (VecDeque<_>, Vec<_>) = jobs.into_iter().unzip();
    while !group.is_empty() {
        thread.transaction(&mut group);
    }
    assert!(thread.connection.is_autocommit());
    let mut statement = thread.connection.prepare("SELECT n FROM rows ORDER BY n").unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    let answers = answers.into_iter().map(|mut answer| answer.try_recv().unwrap().is_ok()).collect();
    (rows, answers)
}

#[test]
fn one_failure_does_not_sink_its_group() {
    let directory = tempfile::tempdir().unwrap();
    let thread = thread(&directory);
    let jobs = vec![job(1, 1, Ok(())), job(2, 1, Err(StoreError::Conflict)), job(3, 1, Ok(()))];
    assert_eq!(run(&thread, jobs), (vec![1, 3], vec![true, false, true]));
    assert_eq!(*thread.feed.webhooks.borrow(), 1);
    let jobs = vec![job(4, 1, Err(StoreError::Conflict))];
    assert_eq!(run(&thread, jobs), (vec![1, 3], vec![false]));
    assert_eq!(*thread.feed.webhooks.borrow(), 1);
}

#[test]
fn a_failed_commit_undoes_and_answers_the_whole_group() {
    let directory = tempfile::tempdir().unwrap();
    let thread = thread(&directory);
    thread.faults.fail_next(Fault::Io);
    assert_eq!(run(&thread, vec![job(1, 1, Ok(())), job(2, 1, Ok(()))]), (vec![], vec![false, false]));
    assert_eq!(*thread.feed.webhooks.borrow(), 0);
    assert_eq!(run(&thread, vec![job(3, 1, Ok(()))]), (vec![3], vec![true]));
}

/// Whichever way SQLite takes (undo the statement, or give up the transaction): who was told yes is there, who was
/// told no is not, and what fits goes on being written.
#[test]
fn a_file_that_may_not_grow_keeps_answers_true() {
    let directory = tempfile::tempdir().unwrap();
    let thread = thread(&directory);
    thread.connection.pragma_update(None, "max_page_count", 20).unwrap();
    let jobs = vec![job(1, 1, Ok(())), job(2, 500_000, Ok(())), job(3, 1, Ok(())), job(4, 30_000, Ok(()))];
    let (rows, answers) = run(&thread, jobs);
    assert!(!answers[1]);
    assert!(answers[2] && answers[3]);
    let told: Vec<i64> = (1..).zip(answers).filter_map(|(n, yes)| yes.then_some(n)).collect();
    assert_eq!(rows, told);
}

#[test]
fn a_transaction_left_open_is_undone_before_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let thread = thread(&directory);
    thread.connection.execute_batch("BEGIN; INSERT INTO rows VALUES (9, NULL)").unwrap();
    assert_eq!(run(&thread, vec![job(1, 1, Ok(()))]), (vec![1], vec![true]));
}

#[tokio::test]
async fn nothing_is_accepted_after_close_and_everything_before_is_done() {
    let directory = tempfile::tempdir().unwrap();
    let WriterThread { connection, feed, faults, .. } = thread(&directory);
    let writer =
        Writer::start("t", connection, feed, faults, Duration::from_secs(5), Ending::new("t")).unwrap();
    for n in 0..100 {
        writer.write_unattended(move |tx| {
            tx.execute("INSERT INTO rows VALUES (?, NULL)", [n])?;
            Ok(())
        });
    }
    writer.close().await;
    assert_eq!(writer.write(|_| Ok(())).await, Err(StoreError::Closed));
    writer.close().await;
    let connection = Connection::open(directory.path().join("t.sqlite")).unwrap();
    let n: i64 = connection.query_row("SELECT COUNT(*) FROM rows", [], |row| row.get(0)).unwrap();
    assert_eq!(n, 100);
}

#[test]
fn an_operation_that_panics_is_undone_alone() {
    let directory = tempfile::tempdir().unwrap();
    let thread = thread(&directory);
    let (reply, mut answer) = oneshot::channel::<Result<(), StoreError>>();
    let op = |tx: &mut Tx<'_>| -> Result<(), StoreError> {
        tx.webhooks_changed();
        let mut statement = tx.prepare_cached("INSERT INTO rows VALUES (?, NULL)")?;
        statement.execute([2])?;
        panic!("{}", "poison ".repeat(100));
    };
    let poison: Box<dyn Job> = Box::new(Pending { op: Some(op), value: None, reply });
    let (first, first_answer) = job(1, 1, Ok(()));
    let (last, last_answer) = job(3, 1, Ok(()));
    let mut group = VecDeque::from([first, poison, last]);
    thread.transaction(&mut group);
    assert!(group.is_empty() && thread.connection.is_autocommit());
    for mut answer in [first_answer, last_answer] {
        answer.try_recv().unwrap().unwrap();
    }
    let Err(StoreError::Broken(failure)) = answer.try_recv().unwrap() else { panic!("it is told") };
    let words = failure.to_string();
    assert!(words.starts_with("panicked: poison") && words.len() < 320, "{words}");
    assert_eq!(run(&thread, vec![job(4, 1, Ok(()))]), (vec![1, 3, 4], vec![true]));
    assert_eq!(*thread.feed.webhooks.borrow(), 2);
}

#[tokio::test]
async fn a_writer_that_ends_keeps_nobody_waiting_and_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let WriterThread { connection, feed, .. } = thread(&directory);
    let faults = FaultPlan::none();
    faults.panic_at_commit();
    let patience = Duration::from_secs(5);
    let writer = Writer::start("t", connection, feed, faults, patience, Ending::new("t")).unwrap();
    assert_eq!(writer.write(|_| Ok(())).await, Err(StoreError::Closed));
    assert_eq!(writer.thread().ended().await, Err("panicked: planned, at a commit".to_owned()));
    assert_eq!(writer.write(|_| Ok(())).await, Err(StoreError::Closed));
    writer.close().await;
}
