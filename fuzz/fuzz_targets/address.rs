//! No spelling of an address that tools must not reach is taken for one that they may.
#![no_main]

use std::net::IpAddr;

use are_policy::address::{Class, Grants, Host, Target, classify, may_connect};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, [u8; 16], bool)| {
    let (text, octets, is_v4) = input;
    let none = Grants::default();
    let host = Host::parse(text);
    let address: IpAddr = if is_v4 { <[u8; 4]>::try_from(&octets[..4]).expect("four").into() } else { octets.into() };
    if let Ok(host) = &host
        && may_connect(host, 443, address, &none).is_ok()
    {
        let is_local = match address.to_canonical() {
            IpAddr::V4(v4) => {
                v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified() || v4.is_multicast()
            }
            IpAddr::V6(v6) => v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() || v6.is_unique_local(),
        };
        assert!(!is_local, "{address} for {text:?}");
    }
    let _: Class = classify(address);
    if let Ok(target) = Target::parse(text) {
        assert!(target.is_same_origin(&target));
    }
});
