use serde_json::{Value, json};

use crate::files::scene;

#[test]
fn files_become_one_and_the_parts_go() {
    let (agent, _keep, root) = scene();
    let compose = |body: Value| {
        let headers = [("content-type", "application/json")];
        let answer = agent.call("POST", "/files/compose", &headers, body.to_string().as_bytes());
        let status = answer.status;
        (status, answer.json())
    };
    let parts: Vec<String> = (0..3).map(|number| format!("{root}/part{number}")).collect();
    let fill = || {
        for (number, part) in parts.iter().enumerate() {
            std::fs::write(part, vec![b'0' + number as u8; 100_000]).unwrap();
        }
    };
    fill();
    let destination = format!("{root}/new/whole");
    let (status, body) = compose(json!({"source_paths": parts, "destination": destination}));
    assert_eq!(status, 200, "{body}");
    assert_eq!(body, json!({"path": destination, "name": "whole", "type": "file"}));
    let whole = std::fs::read(&destination).unwrap();
    assert!(whole.len() == 300_000 && whole[99_999..100_001] == *b"01" && whole[299_999] == b'2');
    let left: Vec<_> = std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["new"]);

    // Whatever fails, nothing is lost and nothing is left.
    fill();
    for (body, status) in [
        (json!({"source_paths": [parts[0], format!("{root}/no")], "destination": destination}), 404),
        (json!({"source_paths": [parts[0], root], "destination": destination}), 400),
        (json!({"source_paths": [parts[0], "/dev/zero"], "destination": destination}), 400),
        (json!({"source_paths": parts, "destination": root}), 400),
        (json!({"source_paths": parts, "destination": parts[1]}), 400),
        (json!({"source_paths": [], "destination": destination}), 400),
        (json!({"source_paths": parts, "destination": ""}), 400),
        (json!({"source_paths": parts, "destination": "~other/x"}), 400),
        (json!({"source_paths": parts, "destination": destination, "username": "ghost"}), 401),
        (json!({"source_paths": 5}), 400),
        (json!([]), 400),
    ] {
        let (answered, answer) = compose(body.clone());
        assert_eq!((answered, &answer["code"]), (status, &json!(status)), "{body}: {answer}");
        assert!(parts.iter().all(|part| std::path::Path::new(part).exists()), "{body}");
        assert!(std::fs::read(&destination).unwrap() == whole, "{body}");
        assert_eq!(std::fs::read_dir(&root).unwrap().count(), 4, "{body}");
    }
    // A link keeps leading to the same place, which has the new contents.
    let link = format!("{root}/link");
    std::os::unix::fs::symlink(&destination, &link).unwrap();
    assert_eq!(compose(json!({"source_paths": [parts[2]], "destination": link})).0, 200);
    assert_eq!(std::fs::read_link(&link).unwrap(), std::path::Path::new(&destination));
    assert_eq!(std::fs::read(&destination).unwrap(), vec![b'2'; 100_000]);
    let same = compose(json!({"source_paths": [destination], "destination": link}));
    assert_eq!(same.0, 400, "{}", same.1);

    assert_eq!(agent.send("POST", "/files/compose", &[], b"{}").status, 401);
    assert_eq!(agent.call("GET", "/files/compose", &[], b"").status, 405);
}
