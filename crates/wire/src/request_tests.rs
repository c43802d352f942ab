use serde_json::json;

use super::*;

fn read(body: Value) -> NewSandbox {
    serde_json::from_value(body).unwrap()
}

#[test]
fn what_the_official_clients_send_by_default_is_supported() {
    let bodies = [
        json!({"templateID":"code-interpreter-v1","timeout":120,"metadata":{"a":"b"},"envVars":{"X":"1"}}),
        json!({"templateID":"base","autoPause":true,"autoResume":{"enabled":true}}),
        json!({"templateID":"base","timeout":300,"secure":true,"allow_internet_access":true}),
        json!({"templateID":"base","timeout":300,"autoPause":true,"autoResume":{"enabled":true},"secure":true,
               "allow_internet_access":true,"metadata":{},"envVars":{},
               "network":{"allowPublicTraffic":true,"maskRequestHost":"localhost:${PORT}","allowOut":[],"denyOut":["0.0.0.0/0"],"rules":{}}}),
        json!({"templateID":"base","mcp":null,"iam":null,"volumeMounts":null,"network":null,"metadata":null}),
        json!({"templateID":"base","somethingNew":1,"autoPauseMemory":true}),
        json!({"templateID":"base","mcp":{"browserbase":{"apiKey":"k","projectId":"p"}}}),
    ];
    for body in bodies {
        assert_eq!(read(body.clone()).unsupported(), None, "{body}");
    }
}

#[test]
fn options_that_are_not_there_are_named() {
    let cases = [
        (json!({"volumeMounts":[{"name":"v","path":"/v"}]}), "volumeMounts"),
        (json!({"iam":{"tokens":{"a":{}}}}), "iam"),
        (json!({"autoPauseMemory":false}), "autoPauseMemory: false"),
        (json!({"network":{"egressProxy":{"address":"x"}}}), "network.egressProxy"),
        (json!({"network":{"rules":{"a.b":[]}}}), "network.rules"),
        (json!({"network":{"httpsPorts":[443]}}), "network.httpsPorts"),
        (json!({"network":{"dnsServers":["1.1.1.1"]}}), "network.dnsServers"),
        (json!({"network":{"allowOut":["1.1.1.1"]}}), "network.allowOut"),
    ];
    for (mut body, name) in cases {
        body["templateID"] = json!("base");
        assert_eq!(read(body).unsupported(), Some(name));
    }
}
