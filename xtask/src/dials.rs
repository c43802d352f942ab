//! Only `outbound` dials on a stranger's word: the crates that are given addresses from outside open no socket of their
//! own.

/// Crates that reach others by `outbound` alone.
const BY_OUTBOUND_ALONE: [&str; 6] = ["api", "client", "otlp", "store", "webhooks", "wire"];

/// What opens a connection.
const DIALS: [&str; 4] = ["TcpStream::connect", "TcpSocket", "UdpSocket", "to_socket_addrs"];

/// What is wrong with `file`, whose text is `text`.
pub(crate) fn fault(file: &str, text: &str) -> Option<String> {
    let crate_name = file.strip_prefix("crates/")?.split('/').next()?;
    let is_production =
        file.split('/').nth(2) == Some("src") && !file.contains("/tests/") && !file.ends_with("_tests.rs");
    if !BY_OUTBOUND_ALONE.contains(&crate_name) || !is_production {
        return None;
    }
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let mut code = code.take_while(|line| !line.trim_start().starts_with("#[cfg(test)]"));
    let found = code.find_map(|line| DIALS.into_iter().find(|dial| line.contains(dial)))?;
    Some(format!("{file}: `{found}`: only `outbound` opens connections to where somebody else says"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_of_its_own_is_a_fault_where_addresses_come_from_outside() {
        let dial = "let stream = TcpStream::connect(address).await?;\n";
        assert!(fault("crates/webhooks/src/attempt.rs", dial).is_some());
        assert!(fault("crates/outbound/src/dialer.rs", dial).is_none());
        assert!(fault("crates/webhooks/src/receiver_tests.rs", dial).is_none());
        assert!(fault("crates/webhooks/tests/receivers.rs", dial).is_none());
        assert!(
            fault("crates/otlp/src/collector.rs", "// TcpStream::connect\n#[cfg(test)]\nTcpSocket").is_none()
        );
    }
}
