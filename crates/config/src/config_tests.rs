use clap::{CommandFactory as _, Parser};

use super::*;
use crate::shown::line_value;

fn resolve(args: ServeArgs, text: &str) -> Result<Config, String> {
    Config::resolve_text(args, text).map_err(|error| error.to_string())
}

#[test]
fn nothing_said_means_the_defaults() {
    let shown = resolve(ServeArgs::default(), "").unwrap().show();
    // Which defaults these are is on the reference page. [otlp] is shown once it has an endpoint, the others once given.
    let mut expected = Vec::new();
    let hidden = ["otlp", "prices", "alerts"];
    for table in sections::all().into_iter().filter(|table| !hidden.contains(&table.name)) {
        let lines = table.settings.iter().map(|setting| match &setting.default {
            Some(default) => format!("{} = {}", setting.key, line_value(default)),
            None => format!("# {} is not set", setting.key),
        });
        let lines: Vec<String> = lines.collect();
        if !lines.is_empty() {
            expected.push(format!("[{}]\n{}", table.name, lines.join("\n")));
        }
    }
    assert_eq!(shown, expected.join("\n\n"));
    assert!(shown.starts_with("[server]\nlisten = \"127.0.0.1:3000\"\n"), "{shown}");
    assert!(shown.ends_with("\n\n[log]\nfilter = \"info\"\nformat = \"auto\""), "{shown}");
}

#[test]
fn what_is_shown_can_be_used_again() {
    let shown = resolve(ServeArgs::default(), "").unwrap().show();
    assert_eq!(resolve(ServeArgs::default(), &shown).unwrap().show(), shown);
}

#[test]
fn prices_are_a_whole_table_or_none() {
    let priced = |text: &str| resolve(ServeArgs::default(), text);
    let config = priced("[prices]\ncurrency = \"EUR\"\nvcpu_hour = 0.0504\ngib_hour = \"0.0162\"").unwrap();
    let prices = config.prices.as_ref().unwrap();
    assert_eq!(prices.vcpu_hour.to_string(), "0.050400000");
    let shown = config.show();
    assert_eq!(priced(&shown).unwrap().prices, config.prices, "{shown}");
    assert_eq!(priced("").unwrap().prices, None);
    for (bad, said) in [
        ("[prices]", "prices currency must be"),
        ("[prices]\ncurrency = \"EUR\"\nvcpu_hour = 1", "prices gib_hour must be"),
        ("[prices]\ncurrency = \"EUR\"\nvcpu_hour = -1\ngib_hour = 1", "prices vcpu_hour must be"),
        ("[prices]\ncurrency = \"EUR\"\nvcpu_hour = 1e-12\ngib_hour = 1", "prices vcpu_hour must be"),
        ("[prices]\ncurrency = \"\"\nvcpu_hour = 1\ngib_hour = 1", "prices currency must be"),
    ] {
        let error = priced(bad).unwrap_err();
        assert!(error.contains(said), "{bad}: {error}");
    }
}

#[test]
fn a_flag_beats_the_file() {
    let args = ServeArgs::default().with("server", "listen", "127.0.0.1:0");
    let config = resolve(args, "[server]\nlisten = \"0.0.0.0:80\"\ndomain = \"example.org\"").unwrap();
    assert_eq!(config.server.listen.port(), 0);
    assert_eq!(config.server.domain.to_string(), "example.org");
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_without_its_neighbours() {
    let text =
        "[server]\nfirst_api_key = \"e2b_0000000000000000000000000000000000000000\"\nlissten = \"x\"\n";
    let error = resolve(ServeArgs::default(), text).unwrap_err();
    assert!(error.contains("line 3"), "{error}");
    assert!(error.contains("lissten"), "{error}");
    assert!(!error.contains("e2b_"), "{error}");
    assert!(resolve(ServeArgs::default(), "[servre]\n").unwrap_err().contains("servre"));
}

#[test]
fn an_unknown_section_hides_no_other_fault() {
    let error = resolve(ServeArgs::default(), "[servre]\n[sandbox]\nmemory_mb = 1\n").unwrap_err();
    assert!(error.contains("[servre]") && error.contains("memory_mb must be"), "{error}");
}

#[test]
fn a_mistyped_variable_is_refused_and_somebody_elses_is_not() {
    let names =
        ["SANDSCOPE_LISTEM", "SANDSCOPE_SOMETHING_ELSE", "SANDSCOPE_CONFIG", "PATH", "SANDSCOPE_DOMAIN"];
    let arguments = ServeArgs::default().refusing_mistyped(names.into_iter().map(str::to_owned));
    let error = resolve(arguments, "").unwrap_err();
    assert_eq!(error, "there is no setting SANDSCOPE_LISTEM (environment); did you mean SANDSCOPE_LISTEN?");
}

#[test]
fn a_value_of_the_wrong_type_is_refused_without_being_quoted() {
    let error = resolve(ServeArgs::default(), "[server]\nmax_connections = \"many\"").unwrap_err();
    assert!(error.contains("line 2"), "{error}");
}

#[test]
fn every_broken_rule_is_named_at_once() {
    let text = "
        [server]
        listen = \"nowhere\"
        domain = \"-x-.y\"
        tls_key = \"key.pem\"
        first_api_key = \"e2b_SECRET\"
        [sandbox]
        memory_mb = 1
        [team]
        event_retention_days = 366
        [webhooks]
        allow = [\"10.0.0.0/33\", \"10.0.0.0/8:99999\"]
        [log]
        filter = \"a=[[[\"
        format = \"xml\"
    ";
    let error = resolve(ServeArgs::default(), text).unwrap_err();
    insta::assert_snapshot!(error, @r"
    listen must be an address with a port, for example 127.0.0.1:3000
    domain must be a host name of letters, digits, hyphens and dots, with or without a port
    tls_cert and tls_key must be given together, or neither
    first_api_key must be e2b_ and 40 hexadecimal digits (lower case)
    memory_mb must be from 128 to 1048576, not 1
    event_retention_days must be from 1 to 365, not 366
    webhook allow: `10.0.0.0/33`: expected addresses as `10.1.0.0/16`, optionally with ports as in `10.1.0.0/16:8000-8999`
    webhook allow: `10.0.0.0/8:99999`: expected addresses as `10.1.0.0/16`, optionally with ports as in `10.1.0.0/16:8000-8999`
    log filter must be a filter such as info
    log format must be auto, text or json
    ");
    assert!(!error.contains("SECRET"));
}

#[test]
fn a_certificate_and_a_domain_with_a_port_are_read_and_shown() {
    let text = "[server]\ndomain = \"E2B.localhost:8443\"\ntls_cert = \"c.pem\"\ntls_key = \"k.pem\"\n";
    let config = resolve(ServeArgs::default(), text).unwrap();
    let tls = config.server.tls().unwrap();
    assert_eq!((tls.cert.to_str(), tls.key.to_str()), (Some("c.pem"), Some("k.pem")));
    assert_eq!(config.server.domain.name, "e2b.localhost");
    let shown = config.show();
    assert!(
        shown.contains("domain = \"e2b.localhost:8443\"") && shown.contains("tls_key = \"k.pem\""),
        "{shown}"
    );
    for bad in ["x:", "x:0", "x:65536", "x:y", ":80"] {
        let error = resolve(ServeArgs::default(), &format!("[server]\ndomain = \"{bad}\"")).unwrap_err();
        assert!(error.starts_with("domain must be"), "{bad}: {error}");
    }
}

#[test]
fn a_chosen_key_is_never_shown() {
    let key = "e2b_0123456789abcdef0123456789abcdef01234567";
    let config = resolve(ServeArgs::default(), &format!("[server]\nfirst_api_key = \"{key}\"")).unwrap();
    assert!(config.show().contains("first_api_key = \"[secret]\""));
    let token = "0123456789abcdef";
    let with = |token: &str| resolve(ServeArgs::default(), &format!("[server]\nadmin_token = \"{token}\""));
    assert!(with(token).unwrap().show().contains("admin_token = \"[secret]\""));
    let error = with("too short").unwrap_err();
    assert!(error.contains("admin_token must be 16 to 256") && !error.contains("too short"), "{error}");
    assert!(!config.show().contains(key));
    assert!(!format!("{config:?}").contains(key));
}

#[test]
fn networks_are_read_and_shown_with_and_without_ports() {
    let allow = r#"allow = ["10.1.0.0/16", "127.0.0.1/32:8080", "::1/128:8000-8999", "fd00::/8"]"#;
    let config = resolve(ServeArgs::default(), &format!("[webhooks]\n{allow}")).unwrap();
    assert_eq!(config.webhooks.allow.len(), 4);
    assert!(config.show().contains(allow), "{}", config.show());
}

#[test]
fn the_shipped_example_holds_and_changes_nothing_but_the_data_directory() {
    let text = include_str!("../../../deploy/sandscope.toml");
    let shipped = resolve(ServeArgs::default(), text).unwrap().show();
    let plain = resolve(ServeArgs::default(), "").unwrap().show();
    let differing: Vec<&str> =
        shipped.lines().filter(|line| !plain.lines().any(|other| other == *line)).collect();
    assert_eq!(differing, ["data_dir = \"/var/lib/sandscope\""]);
    // Every setting there is can be found in it, at least as a comment.
    for line in plain.lines().filter_map(|line| line.split_once(" = ")) {
        assert!(text.contains(line.0), "{} is not in the example", line.0);
    }
}

#[test]
fn a_file_that_is_not_there_is_refused() {
    let mut args = ServeArgs::default();
    args.config = Some("/nonexistent/sandscope.toml".into());
    assert!(matches!(Config::resolve(args), Err(ConfigError::Unreadable { .. })));
}

#[test]
fn alerts_come_from_the_file_and_replace_shipped_ones_of_their_name() {
    let text = r#"
        [metrics]
        default_alerts = true
        [[alerts]]
        name = "idle"
        metric = "cpuPct"
        below = 0.1
        clear = 1.0
        for_s = 60
    "#;
    let config = Config::resolve_text(ServeArgs::default(), text).unwrap();
    assert_eq!(config.alerts.len(), sandscope_model::AlertRule::defaults().len());
    let shown = config.show();
    assert!(
        shown.contains("name = \"idle\"\nmetric = \"cpuPct\"\nbelow = 0.1\nclear = 1\nfor_s = 60"),
        "{shown}"
    );
    assert!(Config::resolve_text(ServeArgs::default(), "").unwrap().alerts.is_empty(), "off by default");
    for bad in [
        "name = 'a'\nmetric = 'nonsense'\nabove = 1",
        "name = 'a'\nmetric = 'cpuPct'",
        "name = 'a'\nmetric = 'cpuPct'\nabove = 1\nbelow = 2",
        "name = 'a'\nmetric = 'cpuPct'\nabove = 50\nclear = 60",
        "name = ''\nmetric = 'cpuPct'\nabove = 50",
        "name = 'a'\nmetric = 'cpuPct'\nabove = 50\nfor_s = 100000",
    ] {
        assert!(Config::resolve_text(ServeArgs::default(), &format!("[[alerts]]\n{bad}")).is_err(), "{bad}");
    }
}

#[test]
fn a_mistyped_name_is_refused_with_the_one_that_was_meant() {
    let text = "[server]\nmax_conections = 1\nmemory_mb = 512\n[webhook]\n[log]\nqqq = 1\nformat = 1\n";
    let error = resolve(ServeArgs::default(), text).unwrap_err();
    insta::assert_snapshot!(error, @r"
    configuration file test.toml, line 2: [server] has no setting `max_conections`; did you mean `max_connections`?
    line 3: [server] has no setting `memory_mb`; it belongs to [sandbox]
    line 4: there is no section [webhook]; did you mean [webhooks]?
    line 6: [log] has no setting `qqq`
    line 7: [log] format must be a text in quotes
    ");
    let error = resolve(ServeArgs::default(), "[[alerts]]\nname = 'a'\nfor = 60\n").unwrap_err();
    assert!(error.contains("line 3: [alerts] has no setting `for`; did you mean `for_s`?"), "{error}");
}

#[derive(Debug, Parser)]
struct Serve {
    #[command(flatten)]
    settings: ServeArgs,
}

#[derive(Debug, Parser)]
struct Key {
    #[command(flatten)]
    settings: Arguments<DataDirectory>,
}

#[test]
fn each_value_says_where_it_comes_from() {
    let line = ["serve", "--listen", "127.0.0.1:1", "--dev", "--webhook-retry-delays-s", "1,2"];
    let arguments = Serve::try_parse_from(line)
        .unwrap()
        .settings
        .with_variables(|name| (name == "SANDSCOPE_ADMIN_TOKEN").then(|| "0123456789abcdef".to_owned()));
    let config =
        Config::resolve_text(arguments, "[server]\nlisten = \"127.0.0.1:2\"\nmax_connections = 7").unwrap();
    assert_eq!(config.webhooks.retry_delays.len(), 2);
    let shown = config.show_sources();
    for line in [
        "listen = \"127.0.0.1:1\"  # flag --listen",
        "dev = true  # flag --dev",
        "retry_delays_s = [1, 2]  # flag --webhook-retry-delays-s",
        "admin_token = \"[secret]\"  # environment SANDSCOPE_ADMIN_TOKEN",
        "max_connections = 7  # file",
        "memory_mb = 512  # default",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
    }
    assert!(!shown.contains("0123456789abcdef"), "{shown}");
    assert!(resolve(ServeArgs::default(), &shown.replace("[secret]", "0123456789abcdef")).is_ok());
}

#[test]
fn one_line_of_a_section_makes_flag_environment_file_and_page() {
    let command = Serve::command();
    let page = reference();
    let example = include_str!("../../../deploy/sandscope.toml");
    let mut names = std::collections::BTreeSet::new();
    for setting in sections::all().into_iter().flat_map(|table| table.settings) {
        let name = format!("[{}] {}", setting.table, setting.key);
        assert!(page.contains(&format!("| `{}` |", setting.key)), "{name} is not on the page");
        assert!(example.contains(setting.key), "{name} is not in the example");
        assert!(!setting.doc.is_empty(), "{name} says nothing");
        if let Some((flag, _)) = setting.flag {
            let argument =
                command.get_arguments().find(|argument| argument.get_long() == Some(flag)).unwrap();
            assert_eq!(argument.get_env().and_then(|name| name.to_str()), setting.environment, "{name}");
            assert!(names.insert(flag.to_owned()), "--{flag} names two settings");
            assert_eq!(
                setting.environment,
                Some(&*format!("SANDSCOPE_{}", flag.replace('-', "_").to_uppercase())),
                "{name}"
            );
        }
        assert!(!setting.secret || setting.flag.is_none(), "{name} would be visible to every process");
    }
}

#[test]
fn a_command_shows_the_flags_it_uses_and_takes_the_others() {
    let help = Key::command().render_long_help().to_string();
    let flags: Vec<&str> = help.split_whitespace().filter(|word| word.starts_with("--")).collect();
    assert_eq!(flags, ["--config", "--data-dir", "--help"], "{help}");
    assert!(Key::try_parse_from(["key", "--listen", "127.0.0.1:1"]).is_ok());
    let help = Serve::command().render_long_help().to_string();
    assert!(help.contains("Connections at once, from 1 to 1000000 [default: 4096]"), "{help}");
}

#[test]
fn a_value_that_a_program_sets_must_be_a_settings() {
    let odd = [("server", "listn", "127.0.0.1:0"), ("server", "max_connections", "many")];
    for (table, key, value) in odd {
        let error = resolve(ServeArgs::default().with(table, key, value), "").unwrap_err();
        assert!(error.contains("there is no setting"), "{error}");
    }
}

#[test]
fn the_reference_page_is_what_the_sections_say() {
    let page = include_str!("../../../docs/configuration.md");
    assert!(page == reference(), "run `sandscope config reference > docs/configuration.md`");
}

#[test]
fn roll_ups_are_kept_as_long_as_samples_where_nothing_else_is_said() {
    let config = resolve(ServeArgs::default(), "[metrics]\nretention_days = 90").unwrap();
    assert_eq!(config.metrics.rollup_days, 90);
    assert!(config.show().contains("rollup_days = 90"));
    let error =
        resolve(ServeArgs::default(), "[metrics]\nretention_days = 90\nrollup_days = 30").unwrap_err();
    assert_eq!(error, "metrics rollup_days must be no fewer than retention_days");
}
