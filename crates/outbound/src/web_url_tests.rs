use proptest::prelude::*;

use super::*;
use crate::{EgressGuard, GuardError};

#[test]
fn only_plain_absolute_http_urls_are_urls() {
    let malformed = [
        "",
        "example.com",
        "//example.com/",
        "//a",
        "/hook",
        "http:",
        "http://",
        "http:///hook",
        "http:example.com",
        "http://:80",
        "file:///etc/passwd",
        "gopher://example.com/",
        "ftp://example.com/",
        "javascript:alert(1)",
        "data:,x",
        "http://?q",
        "https://?x",
        "http://#f",
        "http://example.com:99999/",
        "http://[fe80::1%eth0]/",
        "http://[::1",
        "http://256.0.0.1/",
        "http://1.2.3.4.5/",
    ];
    for text in malformed {
        assert_eq!(web_url(text), Err(UrlError::Malformed), "{text:?}");
    }
    let characters = [
        "http://exa mple.com/",
        "http:\\\\example.com/",
        "http://example.com\\@127.0.0.1/",
        "http://example.com/\r\nX-Evil: 1",
        "http://example.com/\n",
        "\thttp://example.com/",
        "http://exam\tple.com/",
        "http://example.com/\u{0}",
        "http://example.com/\u{85}",
        "http://example.com/\u{2028}",
    ];
    for text in characters {
        assert_eq!(web_url(text), Err(UrlError::Characters), "{text:?}");
    }
    for text in ["http://user@example.com/", "https://user:pass@example.com/", "http://:pass@example.com/"] {
        assert_eq!(web_url(text), Err(UrlError::Credentials), "{text}");
    }
    let long = format!("http://example.com/{}", "a".repeat(3_000));
    assert_eq!(web_url(&long), Err(UrlError::TooLong));
}

#[test]
fn a_url_is_kept_as_given_but_for_what_a_paste_brings_along_and_other_alphabets() {
    for (given, kept) in [
        ("https://example.com", "https://example.com"),
        ("https://EXAMPLE.com/A?b=%20", "https://EXAMPLE.com/A?b=%20"),
        ("  https://example.com/hook \r\n", "https://example.com/hook"),
        ("HTTP://example.com/x", "http://example.com/x"),
        ("Https://Example.com", "https://example.com/"),
        ("https://b\u{fc}cher.example/", "https://xn--bcher-kva.example/"),
        ("https://example.com/caf\u{e9}", "https://example.com/caf%C3%A9"),
    ] {
        assert_eq!(normal_web_url(given).as_deref(), Ok(kept), "{given:?}");
    }
    assert_eq!(normal_web_url("https://exa mple.com"), Err(UrlError::Characters));
    assert_eq!(normal_web_url("  "), Err(UrlError::Malformed));
}

#[test]
fn what_the_web_calls_a_url_is_one() {
    for good in [
        "http://a",
        "https://example.com/x?y=z#w",
        "http://127.0.0.1:9/h",
        "http://[::1]:9/",
        "HTTP://EXAMPLE.COM",
        "https://bücher.example/",
    ] {
        assert!(web_url(good).is_ok(), "{good}");
    }
}

/// Texts near URLs: the parts of one, each as it should be or not.
fn nearly_a_url() -> impl Strategy<Value = String> {
    let scheme = prop_oneof![Just("http"), Just("https"), Just("HTTPS"), Just("ftp"), Just("")];
    let separator = prop_oneof![4 => Just("://"), 1 => Just(":"), 1 => Just(":///"), 1 => Just("//")];
    let credentials = prop_oneof![4 => Just(""), 1 => Just("user@"), 1 => Just(":word@")];
    let host = prop_oneof![
        "[a-z0-9.-]{0,20}",
        "[0-9]{1,3}(\\.[0-9]{1,3}){3}",
        Just("[::1]".to_owned()),
        "\\PC{0,6}"
    ];
    let port = prop_oneof![3 => Just(String::new()), 1 => ":[0-9]{0,6}"];
    let rest = "[/?#]?[ -~]{0,20}|\\PC{0,8}";
    (scheme, separator, credentials, host, port, rest).prop_map(
        |(scheme, separator, who, host, port, rest)| format!("{scheme}{separator}{who}{host}{port}{rest}"),
    )
}

proptest! {
    #[test]
    fn the_guard_refuses_for_its_syntax_exactly_what_is_no_url(text in nearly_a_url()) {
        let guarded = EgressGuard::new(Vec::new()).check_url(&text);
        match web_url(&text) {
            Ok(url) => prop_assert!(!matches!(guarded, Err(GuardError::Url(_))), "{url}: {guarded:?}"),
            Err(error) => prop_assert_eq!(guarded, Err(GuardError::Url(error))),
        }
    }

    #[test]
    fn what_is_a_url_is_one_as_the_parser_spells_it(text in nearly_a_url()) {
        // What is dialled is what was judged: spelled by the parser, it is the same URL again.
        if let Ok(url) = web_url(&text) {
            prop_assert_eq!(url.port_or_known_default().is_some(), true);
            if url.as_str().len() <= MAX_URL_BYTES {
                prop_assert_eq!(web_url(url.as_str()), Ok(url));
            }
        }
    }
}
