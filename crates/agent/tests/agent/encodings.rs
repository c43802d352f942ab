use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use crate::files::{FORM, OCTETS, multipart, scene};

const GZIP: (&str, &str) = ("content-encoding", "gzip");

fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn decompress(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    MultiGzDecoder::new(bytes).read_to_end(&mut decoded).unwrap();
    decoded
}

#[test]
fn compressed_uploads_are_kept_as_what_they_mean() {
    let (agent, _keep, root) = scene();
    let url = format!("/files?path={root}/g");
    let contents: Vec<u8> = (0..2_000_000_u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
    let answer = agent.call("POST", &url, &[OCTETS, GZIP], &compress(&contents));
    assert_eq!(answer.status, 200);
    assert!(std::fs::read(format!("{root}/g")).unwrap() == contents);
    // Several compressed files in a row are one.
    let members = [compress(b"one "), compress(b"two")].concat();
    assert_eq!(agent.call("POST", &url, &[OCTETS, GZIP], &members).status, 200);
    assert_eq!(std::fs::read(format!("{root}/g")).unwrap(), b"one two");
    assert_eq!(agent.call("POST", &url, &[OCTETS, GZIP], &compress(b"")).status, 200);
    assert_eq!(std::fs::read(format!("{root}/g")).unwrap(), b"");
}

#[test]
fn what_is_no_gzip_is_refused_and_leaves_no_file() {
    let (agent, _keep, root) = scene();
    let whole = compress(&vec![b'x'; 100_000]);
    let damaged = {
        let mut bytes = whole.clone();
        let at = bytes.len() - 6;
        bytes[at] ^= 1;
        bytes
    };
    for (what, body) in [
        ("text", b"plain text".to_vec()),
        ("nothing", Vec::new()),
        ("half", whole[..whole.len() / 2].to_vec()),
        ("no checksum", whole[..whole.len() - 4].to_vec()),
        ("a wrong checksum", damaged),
        ("something after it", [whole.as_slice(), b"more"].concat()),
    ] {
        let answer = agent.call("POST", &format!("/files?path={root}/bad"), &[OCTETS, GZIP], &body);
        let (status, body) = (answer.status, answer.json());
        assert_eq!(status, 400, "{what}: {body}");
        assert!(body["message"].as_str().unwrap().contains("gzip"), "{what}: {body}");
        assert!(!std::path::Path::new(&format!("{root}/bad")).exists(), "{what}");
    }
    let form = agent.call("POST", "/files", &[FORM, GZIP], &multipart(&[("file", "/x", "y")]));
    assert_eq!(form.status, 415);
}

#[test]
fn a_bomb_takes_disk_and_no_memory() {
    let (agent, _keep, root) = scene();
    let url = format!("/files?path={root}/bomb");
    let zeros = vec![0; 1 << 20];
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..64 {
        encoder.write_all(&zeros).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    agent.call("POST", &url, &[OCTETS], b"warm").bytes();
    let before = agent.private_bytes();
    assert_eq!(agent.call("POST", &url, &[OCTETS, GZIP], &bomb).status, 200);
    assert_eq!(std::fs::metadata(format!("{root}/bomb")).unwrap().len(), 64 << 20);
    let after = agent.private_bytes();
    assert!(after < before + (8 << 20), "{before} before, {after} after");
}

#[test]
fn compressed_downloads_for_those_who_accept_them() {
    let (agent, _keep, root) = scene();
    let url = format!("/files?path={root}/d");
    let text: Vec<u8> = (0..300_000_u32).flat_map(|i| format!("line {}\n", i % 1000).into_bytes()).collect();
    std::fs::write(format!("{root}/d"), &text).unwrap();
    let get = |headers: &[(&str, &str)]| {
        let answer = agent.call("GET", &url, headers, b"");
        let coding = answer.header("content-encoding").map(str::to_owned);
        (answer.status, coding, answer.bytes())
    };
    let gzip = Some("gzip".to_owned());
    let (status, coding, bytes) = get(&[("accept-encoding", "gzip, deflate")]);
    assert_eq!((status, &coding), (200, &gzip));
    assert!(bytes.len() < text.len() / 4, "{}", bytes.len());
    assert!(decompress(&bytes) == text);
    for plain in [
        &[][..],
        &[("accept-encoding", "identity")],
        &[("accept-encoding", "gzip;q=0")],
        &[("accept-encoding", "br")],
    ] {
        let (status, coding, bytes) = get(plain);
        assert!((status, coding) == (200, None) && bytes == text, "{plain:?}");
    }
    // Parts and conditions are about the file's own bytes.
    let (status, coding, bytes) = get(&[("accept-encoding", "gzip"), ("range", "bytes=0-3")]);
    assert_eq!((status, coding, bytes.as_slice()), (206, None, b"line".as_slice()));
    assert_eq!(get(&[("accept-encoding", "gzip, identity;q=0"), ("range", "bytes=0-3")]).0, 406);
    assert_eq!(get(&[("accept-encoding", "br, identity;q=0")]).0, 406);

    std::fs::write(format!("{root}/d"), "").unwrap();
    let (status, coding, bytes) = get(&[("accept-encoding", "gzip")]);
    assert_eq!((status, &coding, decompress(&bytes).len()), (200, &gzip, 0));
    // What does not become smaller is sent as it is.
    let noise: Vec<u8> = (0..100_000_u64)
        .map(|i| (i.wrapping_mul(i).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect();
    let noise = compress(&noise);
    std::fs::write(format!("{root}/d"), &noise).unwrap();
    let (_, coding, bytes) = get(&[("accept-encoding", "gzip")]);
    assert!(coding.is_none() && bytes == noise);
}
