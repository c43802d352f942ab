//! The operator's view, which no team's key opens.

use axum::body::Body;
use http::{Request, StatusCode};

use super::door::{ADMIN, Door, KEY};

async fn ask(door: &Door, path: &str, header: (&str, &str)) -> super::door::Answer {
    let request = Request::get(path).header(header.0, header.1);
    door.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn only_the_admin_token_opens_it() {
    let door = Door::open().await;
    for (header, wanted) in [
        (("x-api-key", KEY), "operators ask with X-Admin-Token"),
        (("x-admin-token", KEY), "Invalid admin token"),
        (("x-admin-token", ""), "Invalid admin token"),
    ] {
        for path in ["/nodes", "/nodes/here"] {
            let answer = ask(&door, path, header).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
            assert!(answer.body["message"].as_str().unwrap().contains(wanted), "{}", answer.body);
        }
    }
    // Nor does it open anything else.
    assert_eq!(ask(&door, "/sandboxes", ("x-admin-token", ADMIN)).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn there_is_one_machine_in_one_cluster() {
    let door = Door::open().await;
    let get = async |path: &str| ask(&door, path, ("x-admin-token", ADMIN)).await;
    let nodes = get("/nodes").await;
    insta::assert_json_snapshot!(nodes.body);
    assert_eq!(get("/nodes/here").await.body, nodes.body[0]);
    assert_eq!(get("/nodes/there").await.status, StatusCode::NOT_FOUND);
    let (nil, other) = ("00000000-0000-0000-0000-000000000000", "00000000-0000-4000-8000-000000000001");
    assert_eq!(get(&format!("/nodes?clusterID={nil}")).await.body, nodes.body);
    assert_eq!(get(&format!("/nodes?clusterID={other}")).await.body, serde_json::json!([]));
    assert_eq!(get(&format!("/nodes/here?clusterID={other}")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(get("/nodes?clusterID=x").await.status, StatusCode::BAD_REQUEST);
}
