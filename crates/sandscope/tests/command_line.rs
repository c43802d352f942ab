//! The binary's commands that need no server.

use std::process::{Command, Output};

/// The binary without any setting from around the test.
fn sandscope(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandscope"));
    let ours = |name: &str| name.starts_with("SANDSCOPE_") || name.starts_with("E2B_");
    for (name, _) in std::env::vars().filter(|(name, _)| ours(name)) {
        command.env_remove(name);
    }
    command.args(arguments);
    command
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn config_check_merges_flags_environment_and_file_and_hides_secrets() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let key = "e2b_0123456789abcdef0123456789abcdef01234567";
    let text = "[server]\nlisten = \"127.0.0.1:1\"\ndomain = \"from.file\"\n[sandbox]\nmemory_mb = 1024\n";
    std::fs::write(file.path(), text).unwrap();
    let output = sandscope(&["config", "check", "--listen", "127.0.0.1:3", "--config"])
        .arg(file.path())
        .env("SANDSCOPE_LISTEN", "127.0.0.1:2")
        .env("SANDSCOPE_DOMAIN", "from.environment")
        .env("SANDSCOPE_FIRST_API_KEY", key)
        .output()
        .unwrap();
    let (stdout, stderr) = texts(&output);
    assert!(output.status.success(), "{stderr}");
    assert!(stdout.contains("listen = \"127.0.0.1:3\""), "{stdout}");
    assert!(stdout.contains("domain = \"from.environment\""), "{stdout}");
    assert!(stdout.contains("memory_mb = 1024"), "{stdout}");
    assert!(stdout.contains("first_api_key = \"[secret]\"") && !stdout.contains(key), "{stdout}");
}

#[test]
fn a_setting_that_breaks_a_rule_stops_the_server_before_it_makes_anything() {
    let parent = tempfile::tempdir().unwrap();
    let data = parent.path().join("data");
    let output = sandscope(&["serve", "--listen", "nowhere", "--data-dir"]).arg(&data).output().unwrap();
    let (stdout, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout, "");
    assert!(stderr.contains("listen must be an address with a port"), "{stderr}");
    assert!(!data.exists());
}

#[test]
fn a_command_without_a_key_says_where_to_get_one() {
    let output = sandscope(&["sandbox", "list"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(texts(&output).1.contains("E2B_API_KEY"), "{:?}", texts(&output));
}

#[test]
fn a_command_without_a_server_says_so() {
    // A port that was just free; nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let output = sandscope(&["sandbox", "list", "--api-url", &url, "--api-key", "e2b_0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(texts(&output).1.contains("is the server running?"), "{:?}", texts(&output));
}

#[test]
fn keys_of_a_directory_that_is_not_there_are_not_made_up() {
    let parent = tempfile::tempdir().unwrap();
    let data = parent.path().join("data");
    let output = sandscope(&["key", "create", "--data-dir"]).arg(&data).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(texts(&output).1.contains("start the server once"), "{:?}", texts(&output));
    assert!(!data.exists());
}

#[test]
fn the_openapi_document_is_json_on_standard_output() {
    let output = sandscope(&["openapi"]).output().unwrap();
    assert!(output.status.success());
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(document["paths"]["/v2/sandboxes"].is_object());
}

#[test]
fn a_missing_file_is_said_once_and_the_laptop_profile_is_switched_as_people_do() {
    let output = sandscope(&["config", "check", "--config", "/nowhere/sandscope.toml"]).output().unwrap();
    let (_, stderr) = texts(&output);
    assert_eq!(stderr.matches("No such file").count(), 1, "{stderr}");
    for (said, meant) in [("1", true), ("true", true), ("0", false), ("off", false)] {
        let output = sandscope(&["config", "check"]).env("SANDSCOPE_DEV", said).output().unwrap();
        let (stdout, stderr) = texts(&output);
        assert!(stdout.contains(&format!("dev = {meant}")), "{said}: {stdout} {stderr}");
    }
}

#[test]
fn keys_of_a_directory_that_is_no_servers_are_refused_and_it_stays_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let output = sandscope(&["key", "list", "--data-dir"]).arg(directory.path()).output().unwrap();
    let (_, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("start the server once"), "{stderr}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_certificate_is_made_once_its_key_is_private_and_the_server_takes_it() {
    use std::os::unix::fs::PermissionsExt as _;

    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("tls");
    let make = || sandscope(&["tls", "self-signed", "--out"]).arg(&out).output().unwrap();
    let (stdout, stderr) = texts(&make());
    let out = out.canonicalize().unwrap();
    let path = |name: &str| out.join(name).display().to_string();
    assert!(stdout.contains(&format!("export NODE_EXTRA_CA_CERTS={}\n", path("ca.pem"))), "{stdout}{stderr}");
    assert!(stdout.contains(&format!("export SSL_CERT_FILE={}\n", path("ca.pem"))), "{stdout}");
    let mode = std::fs::metadata(path("key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let key = std::fs::read_to_string(path("key.pem")).unwrap();
    let again = make();
    assert_eq!(again.status.code(), Some(1));
    assert!(texts(&again).1.contains("is there already"), "{}", texts(&again).1);
    assert_eq!(std::fs::read_to_string(path("key.pem")).unwrap(), key);

    let check = |cert: &str, key: &str| {
        sandscope(&["config", "check", "--tls-cert", cert, "--tls-key", key]).output().unwrap()
    };
    assert!(check(&path("cert.pem"), &path("key.pem")).status.success());
    let wrong = check(&path("ca.pem"), &path("key.pem"));
    assert!(texts(&wrong).1.contains("is not the key of the certificate"), "{}", texts(&wrong).1);
    let missing = check(&path("nothing.pem"), &path("key.pem"));
    assert!(texts(&missing).1.contains("cannot read the certificate from"), "{}", texts(&missing).1);
    let no_key = sandscope(&["config", "check", "--tls-cert", &path("cert.pem")]).output().unwrap();
    assert!(texts(&no_key).1.contains("must be given together"), "{}", texts(&no_key).1);
}

#[test]
fn a_command_shows_the_settings_it_uses_and_config_show_where_they_come_from() {
    let (help, _) = texts(&sandscope(&["key", "create", "--help"]).output().unwrap());
    assert!(help.contains("--data-dir") && help.contains("--name"), "{help}");
    assert!(!help.contains("--listen") && !help.contains("--webhook-allow"), "{help}");
    let mut show = sandscope(&["config", "show", "--listen", "127.0.0.1:3"]);
    let (stdout, stderr) = texts(&show.env("SANDSCOPE_DOMAIN", "from.environment").output().unwrap());
    assert!(stdout.contains("listen = \"127.0.0.1:3\"  # flag --listen"), "{stdout}{stderr}");
    assert!(stdout.contains("domain = \"from.environment\"  # environment SANDSCOPE_DOMAIN"), "{stdout}");
    assert!(stdout.contains("memory_mb = 512  # default"), "{stdout}");
    let (page, _) = texts(&sandscope(&["config", "reference"]).output().unwrap());
    assert!(page.starts_with("# Configuration") && page.contains("`SANDSCOPE_LISTEN`"), "{page}");
}
