use proptest::prelude::*;

use super::*;

const TYPE: &str = "multipart/form-data; boundary=XyZ";

/// Name, file name, contents.
type Part = (Option<String>, Option<String>, Vec<u8>);

/// The parts of a body that arrives in pieces of the given sizes.
fn read(body: &[u8], sizes: &[usize]) -> Result<Vec<Part>, MultipartError> {
    let mut multipart = Multipart::new(TYPE)?;
    let mut parts = Vec::new();
    let mut sizes = sizes.iter().cycle();
    let mut rest = body;
    loop {
        while let Some(event) = multipart.next()? {
            match event {
                Event::Part { name, filename } => parts.push((name, filename, Vec::new())),
                Event::Data(bytes) => parts.last_mut().unwrap().2.extend_from_slice(&bytes),
                Event::PartEnd | Event::End => {}
            }
        }
        if rest.is_empty() {
            return multipart.finish().map(|()| parts);
        }
        let (piece, tail) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
        multipart.push(piece);
        rest = tail;
    }
}

fn part(head: &str, contents: &[u8]) -> Vec<u8> {
    [b"--XyZ\r\n", head.as_bytes(), b"\r\n\r\n", contents, b"\r\n"].concat()
}

#[test]
fn what_clients_send() {
    let mut body = part(
        "Content-Disposition: form-data; name=\"file\"; filename=\"/home/user/m1\"\r\n\
         Content-Type: application/octet-stream",
        b"one\r\n--Xy",
    );
    body.extend(part("content-disposition: form-data; name=file; filename=\"a;\\\"b%22=.txt\"", b""));
    body.extend_from_slice(b"--XyZ--\r\nafter");
    let parts = read(&body, &[usize::MAX]).unwrap();
    let file = Some("file".to_owned());
    assert_eq!(parts[0], (file.clone(), Some("/home/user/m1".to_owned()), b"one\r\n--Xy".to_vec()));
    assert_eq!(parts[1], (file, Some("a;\"b\"=.txt".to_owned()), Vec::new()));
    assert_eq!(parts.len(), 2);
}

#[test]
fn what_is_none() {
    assert_eq!(Multipart::new("multipart/form-data").unwrap_err(), MultipartError::NoBoundary);
    assert_eq!(Multipart::new("multipart/form-data; boundary=\"\"").unwrap_err(), MultipartError::NoBoundary);
    assert_eq!(read(b"", &[1]), Err(MultipartError::Truncated));
    assert_eq!(read(&part("A: b", b"x"), &[3]), Err(MultipartError::Truncated));
    assert_eq!(read(b"--XyZgarbage\r\n", &[3]), Err(MultipartError::Head));
    let endless = [b"--XyZ\r\n".to_vec(), vec![b'a'; 2 * MAX_HEAD_BYTES]].concat();
    assert_eq!(read(&endless, &[100]), Err(MultipartError::Head));
}

proptest! {
    #[test]
    fn parts_survive_any_split(
        contents in prop::collection::vec(prop::collection::vec(
            prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'-'), Just(b'X'), Just(b'y'), any::<u8>()], 0..40,
        ), 0..5),
        sizes in prop::collection::vec(1usize..9, 1..30),
    ) {
        prop_assume!(contents.iter().all(|bytes| !bytes.windows(5).any(|window| window == b"--XyZ")));
        let mut body = Vec::new();
        for bytes in &contents {
            body.extend(part("Content-Disposition: form-data; name=\"file\"", bytes));
        }
        body.extend_from_slice(b"--XyZ--\r\n");
        let parts = read(&body, &sizes).unwrap();
        let read: Vec<_> = parts.into_iter().map(|part| part.2).collect();
        prop_assert_eq!(read, contents);
    }

    #[test]
    fn any_bytes_end_somehow(
        body in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'-'), any::<u8>()], 0..200),
        sizes in prop::collection::vec(1usize..9, 1..5),
    ) {
        let _ = read(&[b"--XyZ".as_slice(), &body].concat(), &sizes);
    }
}
