//! Chooses ports for servers on loopback.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::TcpListener;
use std::ops::Range;

/// Below the ports that systems give to outgoing connections. From among those, one that is free
/// now may be somebody's own end of a connection a moment later: always when a server is restarted.
const RANGE: Range<u16> = 10_000..30_000;
const TRIES: usize = 100;

/// A port of loopback that nobody listens on, and that no outgoing connection will take.
pub fn free_port() -> io::Result<u16> {
    (0..TRIES)
        .map(|_| random(RANGE))
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .ok_or_else(|| io::Error::from(io::ErrorKind::AddrInUse))
}

/// The standard library's only source of randomness is its hasher's seed, which is enough here.
fn random(range: Range<u16>) -> u16 {
    let random = RandomState::new().hash_one(()) % u64::from(range.end - range.start);
    u16::try_from(random).map_or(range.start, |offset| range.start + offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_and_in_range() {
        for _ in 0..10 {
            let port = free_port().unwrap();
            assert!(RANGE.contains(&port));
            TcpListener::bind(("127.0.0.1", port)).unwrap();
        }
    }

    #[test]
    fn ports_differ() {
        let ports: std::collections::BTreeSet<u16> = (0..20).map(|_| random(RANGE)).collect();
        assert!(ports.len() > 10, "{ports:?}");
    }
}
