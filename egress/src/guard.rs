//! Which addresses may be called: public ones, and those that the operator lists.
//!
//! A name is resolved once for each connection, and the connection goes to the very addresses that were checked: an answer
//! that is another one the next time (rebinding) is checked the next time.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use futures::future::BoxFuture;
use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Which addresses may be called.
#[derive(Clone, Debug)]
pub enum Guard {
    /// Any: the address is the operator's word, and nobody else's.
    Off,
    /// Public ones, and those in these networks.
    Public(Arc<[IpNet]>),
}

/// An address that may not be called.
#[derive(Debug, thiserror::Error)]
#[error("{address} is an address of our own network: list it in allow_addresses if it is meant")]
pub struct Refused {
    /// Which.
    pub address: IpAddr,
}

/// Finds the addresses of a name.
pub trait Lookup: Send + Sync + 'static {
    /// All of them, in the order of preference.
    fn lookup(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// By the machine's own means.
#[derive(Clone, Copy, Debug)]
pub struct System;

impl Lookup for System {
    fn lookup(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let name = name.to_owned();
        Box::pin(async move {
            Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
        })
    }
}

impl Guard {
    /// Public addresses, and these networks.
    pub fn public_and(networks: &[IpNet]) -> Self {
        Self::Public(networks.into())
    }

    /// Refuses an address that may not be called.
    pub fn check(&self, address: IpAddr) -> Result<(), Refused> {
        let Self::Public(networks) = self else { return Ok(()) };
        let canonical = address.to_canonical();
        if is_public(canonical) || networks.iter().any(|network| network.contains(&canonical)) {
            Ok(())
        } else {
            Err(Refused { address })
        }
    }
}

/// Resolves names for one client, and gives out what was checked.
pub(crate) struct Checked {
    pub(crate) guard: Guard,
    pub(crate) lookup: Arc<dyn Lookup>,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, found) = (self.guard.clone(), self.lookup.lookup(name.as_str()));
        Box::pin(async move {
            let found = found.await?;
            // One bad one among them is a name that somebody plays with.
            found.iter().try_for_each(|address| guard.check(*address))?;
            let addresses = found.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

/// Whether an address is one of the public internet.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

/// By IANA's registry of special addresses; what is for machines of clouds and carriers is not public either.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let special: [(Ipv4Addr, u32); 15] = [
        (Ipv4Addr::new(0, 0, 0, 0), 8),
        (Ipv4Addr::new(10, 0, 0, 0), 8),
        (Ipv4Addr::new(100, 64, 0, 0), 10),
        (Ipv4Addr::new(127, 0, 0, 0), 8),
        (Ipv4Addr::new(169, 254, 0, 0), 16),
        (Ipv4Addr::new(172, 16, 0, 0), 12),
        (Ipv4Addr::new(192, 0, 0, 0), 24),
        (Ipv4Addr::new(192, 0, 2, 0), 24),
        (Ipv4Addr::new(192, 88, 99, 0), 24),
        (Ipv4Addr::new(192, 168, 0, 0), 16),
        (Ipv4Addr::new(198, 18, 0, 0), 15),
        (Ipv4Addr::new(198, 51, 100, 0), 24),
        (Ipv4Addr::new(203, 0, 113, 0), 24),
        // Azure's own service on every machine.
        (Ipv4Addr::new(168, 63, 129, 16), 32),
        // Multicast, reserved, broadcast.
        (Ipv4Addr::new(224, 0, 0, 0), 3),
    ];
    let bits = u32::from(address);
    !special.iter().any(|(network, length)| (bits ^ u32::from(*network)).leading_zeros() >= *length)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let embedded =
        |high: u16, low: u16| is_public_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match (a, b) {
        // NAT64: stands for the address at its end.
        (0x64, 0xff9b) if (c, d, e, f) == (0, 0, 0, 0) => embedded(g, h),
        // 6to4 likewise.
        (0x2002, _) => embedded(b, c),
        // Protocol assignments (Teredo among them), and documentation.
        (0x2001, 0..=0x1ff | 0xdb8) | (0x3fff, 0..=0xfff) => false,
        // All else that is global unicast; so neither loopback, link-local, unique local, site-local nor multicast.
        _ => a & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn public(text: &str) -> bool {
        is_public(text.parse().unwrap())
    }

    #[test]
    fn addresses_of_our_own_networks_are_not_public() {
        for own in [
            "127.0.0.1",
            "127.255.255.255",
            "0.0.0.0",
            "10.0.0.1",
            "10.255.255.255",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "100.64.0.1",
            "168.63.129.16",
            "192.0.0.192",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:a9fe:a9fe",
            "::127.0.0.1",
            "::10.0.0.1",
            "fe80::1",
            "febf::1",
            "fc00::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "fec0::1",
            "ff02::1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::808:808",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2001::1",
            "2001:db8::1",
            "100::1",
            "3fff::1",
        ] {
            assert!(!public(own), "{own}");
        }
        for other in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "169.253.0.1",
            "100.63.255.255",
            "100.128.0.0",
            "168.63.129.17",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
        ] {
            assert!(public(other), "{other}");
        }
    }

    #[test]
    fn the_operators_list_is_by_network() {
        let guard = Guard::public_and(&["10.1.0.0/16".parse().unwrap(), "fd00::/64".parse().unwrap()]);
        let passes = |text: &str| guard.check(text.parse().unwrap()).is_ok();
        assert!(passes("10.1.2.3") && passes("::ffff:10.1.2.3") && passes("fd00::7") && passes("8.8.8.8"));
        assert!(
            !passes("10.2.0.1") && !passes("fd00:1::7") && !passes("127.0.0.1") && !passes("169.254.169.254")
        );
        assert!(Guard::Off.check("127.0.0.1".parse().unwrap()).is_ok());
    }

    proptest! {
        /// However an address of version 4 is put into one of version 6, it is as public as it is.
        #[test]
        fn mapped_addresses_are_what_they_stand_for(bits: u32) {
            let v4 = Ipv4Addr::from_bits(bits);
            let expected = is_public(v4.into());
            prop_assert_eq!(is_public(v4.to_ipv6_mapped().into()), expected);
            let [a, b] = [(bits >> 16) as u16, (bits & 0xffff) as u16];
            prop_assert_eq!(is_public(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, a, b).into()), expected);
            prop_assert_eq!(is_public(Ipv6Addr::new(0x2002, a, b, 0, 0, 0, 0, 1).into()), expected);
            prop_assert!(!is_public(v4.to_ipv6_compatible().into()));
        }
    }
}
