//! Only `outbound` dials on a stranger's word: the crates that are given addresses from outside open no socket of their
//! own.

use super::source::Source;

/// Crates that reach others by `outbound` alone.
const BY_OUTBOUND_ALONE: [&str; 6] = ["api", "client", "otlp", "store", "webhooks", "wire"];

/// What opens a connection.
const DIALS: [&str; 4] = ["TcpStream::connect", "TcpSocket", "UdpSocket", "to_socket_addrs"];

/// The first connection that the file opens itself, if its crate may not.
pub(super) fn fault(source: &Source) -> Option<String> {
    if !source.room().is_some_and(|room| BY_OUTBOUND_ALONE.contains(&room)) {
        return None;
    }
    let (n, found) = source
        .shipped()
        .find_map(|(n, line)| DIALS.into_iter().find(|dial| line.contains(dial)).map(|dial| (n, dial)))?;
    let path = &source.path;
    Some(format!("{path}:{n}: `{found}`: only `outbound` opens connections to where somebody else says"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault_in(path: &str, text: &str) -> Option<String> {
        fault(&Source::new(path, text.to_owned()))
    }

    #[test]
    fn a_socket_of_its_own_is_a_fault_where_addresses_come_from_outside() {
        let dial = "let stream = TcpStream::connect(address).await?;\n";
        assert!(fault_in("crates/webhooks/src/attempt.rs", dial).is_some());
        assert!(fault_in("crates/outbound/src/dialer.rs", dial).is_none());
        assert!(fault_in("crates/webhooks/src/receiver_tests.rs", dial).is_none());
        assert!(fault_in("crates/webhooks/tests/receivers.rs", dial).is_none());
        let of_tests = "// TcpStream::connect\n#[cfg(test)]\nmod tests {\n    TcpSocket\n}\n";
        assert!(fault_in("crates/otlp/src/collector.rs", of_tests).is_none());
    }
}
