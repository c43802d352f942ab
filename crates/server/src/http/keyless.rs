//! Connections of whom nobody knows: no request with a key of ours has come over them.
//!
//! They may be anybody's, so an address has no more of them than its share, and while places are few those with nothing
//! under way make room, first of the address that has most. Whoever has shown a key is not counted here, and neither are
//! trusted proxies, which speak for many.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use tokio_util::sync::CancellationToken;

/// What one customer of a network provider gets, of IPv6.
const NETWORK_BITS: u32 = 64;

/// The connections of each address.
#[derive(Debug, Clone)]
pub(super) struct Keyless {
    most: usize,
    trusted: Arc<[IpNet]>,
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    /// Grows with every connection: the lower a number, the older its connection.
    next: u64,
    addresses: HashMap<IpAddr, BTreeMap<u64, Entry>>,
}

#[derive(Debug)]
struct Entry {
    is_idle: bool,
    end: CancellationToken,
}

/// One connection's entry, until it is dropped or a key was shown.
#[derive(Debug)]
pub(super) struct Place {
    /// The address counted for and the number there; `None` for those that are not counted.
    counted: Option<(IpAddr, u64)>,
    table: Arc<Mutex<Table>>,
    end: CancellationToken,
}

impl Keyless {
    /// At most `most` of an address, but for `trusted` proxies.
    pub(super) fn new(most: usize, trusted: Arc<[IpNet]>) -> Self {
        Self { most, trusted, table: Arc::default() }
    }

    /// A place for a new connection of `peer`, made by ending its oldest one with nothing under way where it has its
    /// share; `None` where it has none such.
    pub(super) fn enter(&self, peer: IpAddr) -> Option<Place> {
        let peer = peer.to_canonical();
        let (end, table) = (CancellationToken::new(), Arc::clone(&self.table));
        if self.trusted.iter().any(|net| net.contains(&peer)) {
            return Some(Place { counted: None, table, end });
        }
        let address = network(peer);
        let mut held = lock(&self.table);
        let n_held = held.addresses.get(&address).map_or(0, BTreeMap::len);
        if n_held >= self.most && !held.end_oldest(address) {
            return None;
        }
        let number = held.next;
        held.next += 1;
        let entry = Entry { is_idle: true, end: end.clone() };
        held.addresses.entry(address).or_default().insert(number, entry);
        drop(held);
        Some(Place { counted: Some((address, number)), table, end })
    }

    /// Ends one connection with nothing under way, of the address that has most such.
    pub(super) fn make_room(&self) {
        let mut held = lock(&self.table);
        let n_idle = |entries: &BTreeMap<u64, Entry>| entries.values().filter(|entry| entry.is_idle).count();
        let most = held.addresses.iter().map(|(address, entries)| (n_idle(entries), *address)).max();
        if let Some((1.., address)) = most {
            held.end_oldest(address);
        }
    }
}

impl Table {
    /// Ends the oldest connection of `address` that has nothing under way; whether there was one.
    fn end_oldest(&mut self, address: IpAddr) -> bool {
        let entries = self.addresses.get(&address);
        let oldest = entries.and_then(|entries| entries.iter().find(|(_, entry)| entry.is_idle));
        let Some(number) = oldest.map(|(number, _)| *number) else { return false };
        if let Some(entry) = self.remove(address, number) {
            entry.end.cancel();
        }
        true
    }

    fn remove(&mut self, address: IpAddr, number: u64) -> Option<Entry> {
        let entries = self.addresses.get_mut(&address)?;
        let entry = entries.remove(&number);
        if entries.is_empty() {
            self.addresses.remove(&address);
        }
        entry
    }
}

impl Place {
    /// Says whether something is under way: then the connection is not ended for others.
    pub(super) fn set_idle(&self, is_idle: bool) {
        let Some((address, number)) = self.counted else { return };
        let mut held = lock(&self.table);
        if let Some(entry) = held.addresses.get_mut(&address).and_then(|it| it.get_mut(&number)) {
            entry.is_idle = is_idle;
        }
    }

    /// A key was shown: from now on it is somebody's, and counts no more.
    pub(super) fn set_known(&self) {
        if let Some((address, number)) = self.counted {
            lock(&self.table).remove(address, number);
        }
    }

    /// Completes once the connection has to make room.
    pub(super) async fn ended(&self) {
        self.end.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.set_known();
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whom an address is counted for.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !(u128::MAX >> NETWORK_BITS)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_its_share_and_its_oldest_idle_connection_makes_room() {
        let keyless = Keyless::new(2, Arc::new([]));
        let enter = |text: &str| keyless.enter(address(text));
        let (first, second) = (enter("192.0.2.1").unwrap(), enter("::ffff:192.0.2.1").unwrap());
        first.set_idle(false);
        let third = enter("192.0.2.1").unwrap();
        assert!(!first.end.is_cancelled() && second.end.is_cancelled());
        third.set_idle(false);
        assert!(enter("192.0.2.1").is_none(), "both have something under way");
        assert!(enter("192.0.2.2").is_some());
        first.set_known();
        assert!(enter("192.0.2.1").is_some());
        drop((first, second, third));
        assert!(lock(&keyless.table).addresses.is_empty());
    }

    #[test]
    fn room_is_made_where_most_is_held_for_nothing() {
        let keyless = Keyless::new(9, Arc::new(["10.0.0.0/8".parse().unwrap()]));
        let enter = |text: &str| keyless.enter(address(text)).unwrap();
        let busy: Vec<_> = (0..3).map(|_| enter("192.0.2.1")).collect();
        busy.iter().for_each(|place| place.set_idle(false));
        let proxies: Vec<_> = (0..20).map(|_| enter("10.1.1.1")).collect();
        let many = [enter("2001:db8::1"), enter("2001:db8::2"), enter("192.0.2.9")];
        keyless.make_room();
        assert_eq!(many.each_ref().map(|place| place.end.is_cancelled()), [true, false, false]);
        keyless.make_room();
        keyless.make_room();
        keyless.make_room();
        assert!(many.iter().all(|place| place.end.is_cancelled()));
        assert!(!busy.iter().chain(&proxies).any(|place| place.end.is_cancelled()));
    }
}
