//! What waits in a sandbox's sockets and is charged to nobody: answers in netlink sockets, and datagrams that were begun
//! and not sent.

use std::os::fd::BorrowedFd;

use crate::read_in;

/// Bytes that wait, as seen from the sandbox's first process.
pub(crate) fn bytes(proc_dir: BorrowedFd<'_>) -> u64 {
    let netlink = read_in(proc_dir, "net/netlink").map_or(0, |table| netlink(&table));
    ["net/udp", "net/udp6"].into_iter().fold(netlink, |sum, name| {
        sum.saturating_add(read_in(proc_dir, name).map_or(0, |table| unsent(&table)))
    })
}

/// `sk Eth Pid Groups Rmem Wmem …`
fn netlink(table: &str) -> u64 {
    let line = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(4).map(|field| field.parse::<u64>().ok());
        Some(fields.next()??.saturating_add(fields.next()??))
    };
    table.lines().skip(1).filter_map(line).fold(0, u64::saturating_add)
}

/// `sl local_address rem_address st tx_queue:rx_queue …`; what was received is charged.
fn unsent(table: &str) -> u64 {
    let line = |line: &str| {
        let queues = line.split_ascii_whitespace().nth(4)?;
        u64::from_str_radix(queues.split_once(':')?.0, 16).ok()
    };
    table.lines().skip(1).filter_map(line).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_added_up() {
        let table = "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n\
                     0000000041bafc0d 0   0          00000000 4096     0        0     2        0        4\n\
                     0000000041bafc0e 0   9          00000000 8192     512      0     2        0        5\ncut 1\n";
        assert_eq!(netlink(table), 12_800);
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n\
                     305: 0100007F:A1B2 0100007F:0009 01 00010F00:00000200 00:00000000 00000000 1000\n 306: cut\n";
        assert_eq!(unsent(table), 0x1_0F00);
        assert_eq!((netlink(""), unsent("")), (0, 0));
    }
}
