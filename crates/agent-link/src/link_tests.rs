use std::collections::BTreeMap;

use sandscope_agent_protocol::rest::InitRequest;
use sandscope_engine::LaunchSpec;
use sandscope_model::{Rootfs, Secret};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::*;
use crate::{ask_health, draw_boot_token, init_body, initialise};

/// A connection, and its far end, where an agent would be.
fn link() -> (Connection, DuplexStream) {
    let (near, far) = tokio::io::duplex(4096);
    (Connection::Tunnel(Box::new(near)), far)
}

/// Reads one request whole and gives `answer`.
async fn answer(agent: &mut DuplexStream, answer: &str) -> String {
    let mut heard = Vec::new();
    let mut piece = [0; 1024];
    loop {
        let n = agent.read(&mut piece).await.unwrap();
        heard.extend_from_slice(&piece[..n]);
        let text = String::from_utf8_lossy(&heard).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            agent.write_all(answer.as_bytes()).await.unwrap();
            return text;
        }
    }
}

fn lines(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn health_is_a_204_and_nothing_else() {
    let (connection, mut agent) = link();
    let (asked, heard) =
        tokio::join!(ask_health(connection), answer(&mut agent, "HTTP/1.1 204 No Content\r\n\r\n"));
    asked.unwrap();
    assert!(heard.starts_with("GET /health HTTP/1.1\r\nhost: localhost\r\n"), "{heard}");

    let (connection, mut agent) = link();
    let (asked, _) = tokio::join!(
        ask_health(connection),
        answer(&mut agent, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    );
    assert!(matches!(asked, Err(LinkError::Refused(StatusCode::OK))), "{asked:?}");

    let (connection, agent) = link();
    drop(agent);
    let asked = ask_health(connection).await;
    assert!(matches!(asked, Err(LinkError::Broken(_))), "{asked:?}");
}

#[tokio::test]
async fn the_first_message_carries_who_the_sandbox_is_and_the_boot_token() {
    let spec = LaunchSpec {
        id: "i0123456789abcdefghij".parse().unwrap(),
        execution_id: uuid_of_nothing(),
        template_id: "rki5dems9wqfm4r03t7g".parse().unwrap(),
        rootfs: Rootfs::Host,
        vcpu_count: 2,
        memory_mb: 512,
        disk_mb: 1,
        env_vars: BTreeMap::from([("A".to_owned(), "b".to_owned())]),
        access_token: Some(Secret::new("token".to_owned())),
    };
    let token = draw_boot_token().unwrap();
    assert_eq!(token.expose().len(), 64);
    let (connection, mut agent) = link();
    let body = init_body(&spec).unwrap();
    let (told, heard) = tokio::join!(
        initialise(connection, body, &token),
        answer(&mut agent, "HTTP/1.1 204 No Content\r\n\r\n")
    );
    told.unwrap();
    let (head, body) = heard.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /init HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(token.expose()), "{head}");
    let request: InitRequest = serde_json::from_str(body).unwrap();
    assert_eq!(request.sandbox_id.as_deref(), Some("i0123456789abcdefghij"));
    assert_eq!((request.cpu_count, request.memory_bytes), (Some(2), Some(512 << 20)));
}

fn uuid_of_nothing() -> sandscope_model::ExecutionId {
    #[derive(Debug)]
    struct Zeros;
    impl sandscope_model::Entropy for Zeros {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0);
        }
    }
    sandscope_model::ExecutionId::generate(&Zeros)
}

#[tokio::test]
async fn one_link_asks_for_lines_again_and_again_and_believes_only_what_makes_sense() {
    let (connection, mut agent) = link();
    let mut link = AgentLink::over(connection).await.unwrap();
    for after in [0, 5] {
        let body = lines(&format!(r#"{{"lines":[],"upto":{}}}"#, after + 5));
        let (read, heard) = tokio::join!(link.read_logs(after, None), answer(&mut agent, &body));
        assert_eq!(read.unwrap().upto, after + 5);
        assert!(heard.contains(&format!("?after={after}&wait=30")), "{heard}");
    }
    let backwards = lines(r#"{"lines":[],"upto":9}"#);
    let (read, _) = tokio::join!(link.read_logs(10, None), answer(&mut agent, &backwards));
    assert!(matches!(read, Err(LinkError::Nonsense(_))), "{read:?}");
    let torn = lines("{");
    let (read, _) = tokio::join!(link.read_logs(10, None), answer(&mut agent, &torn));
    assert!(matches!(read, Err(LinkError::Unreadable(_))), "{read:?}");
    let far_too_much = lines(&" ".repeat(MAX_ANSWER_BYTES + 1));
    let (read, ()) = tokio::join!(link.read_logs(10, None), async {
        // The link goes away in the middle of it.
        let mut piece = [0; 1024];
        let _request = agent.read(&mut piece).await.unwrap();
        for chunk in far_too_much.as_bytes().chunks(4096) {
            if tokio::time::timeout(std::time::Duration::from_secs(5), agent.write_all(chunk)).await.is_err()
            {
                return;
            }
        }
    });
    assert!(matches!(read, Err(LinkError::Body(_))), "{read:?}");
}
