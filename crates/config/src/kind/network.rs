use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use sandscope_outbound::{AllowedTarget, ProxyAddress};
use toml::Value;

use super::{Fault, Kind, of_text, of_texts};
use crate::shape::Shape;

const ADDRESS: &str = "an address with a port, for example 127.0.0.1:3000";

/// Where something listens.
pub(crate) fn address(default: ([u8; 4], u16)) -> Kind<SocketAddr> {
    of_text(default.into(), ADDRESS, |text| text.parse().ok(), |address| Some(address.to_string()))
}

/// The same, or nowhere.
pub(crate) fn optional_address() -> Kind<Option<SocketAddr>> {
    let parse = |text: &str| if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) };
    of_text(None, ADDRESS, parse, |address| {
        Some(address.map(|address| address.to_string()).unwrap_or_default())
    })
}

/// Networks, or single addresses.
pub(crate) fn networks() -> Kind<Vec<IpNet>> {
    const ALLOWED: &str = "networks such as 10.0.0.0/8, or addresses";
    let parse = |text: &str| {
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map_err(|_| Fault::Must(ALLOWED.to_owned()))
    };
    of_texts(Vec::new(), ALLOWED, parse, ToString::to_string)
}

/// Networks that webhooks may go to, with ports or without.
pub(crate) fn targets() -> Kind<Vec<AllowedTarget>> {
    let parse = |text: &str| text.parse().map_err(|error| Fault::Says(vec![format!("`{text}`: {error}")]));
    of_texts(Vec::new(), "networks as 10.1.0.0/16 or 10.1.0.0/16:8000-8999", parse, target)
}

fn target(target: &AllowedTarget) -> String {
    let net = &target.net;
    match &target.ports {
        None => net.to_string(),
        Some(ports) if ports.start() == ports.end() => format!("{net}:{}", ports.start()),
        Some(ports) => format!("{net}:{}-{}", ports.start(), ports.end()),
    }
}

/// A set of ports instead of the usual one.
pub(crate) fn ports() -> Kind<Option<BTreeSet<u16>>> {
    const ALLOWED: &str = "ports from 0 to 65535";
    Kind {
        shape: Shape::Wholes,
        allowed: ALLOWED.to_owned(),
        unit: None,
        unset: None,
        secret: false,
        read: Box::new(|value| {
            let ports = value.as_array().into_iter().flatten().filter_map(Value::as_integer);
            let ports: Result<BTreeSet<u16>, _> = ports.map(u16::try_from).collect();
            ports.map(Some).map_err(|_| Fault::Must(ALLOWED.to_owned()))
        }),
        write: Box::new(|ports| {
            let ports = ports.as_ref()?.iter().map(|port| Value::Integer((*port).into()));
            Some(Value::Array(ports.collect()))
        }),
    }
}

/// A proxy, or none.
pub(crate) fn proxy() -> Kind<Option<ProxyAddress>> {
    let parse = |text: &str| if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) };
    let print = |proxy: &Option<ProxyAddress>| proxy.as_ref().map(ToString::to_string);
    of_text(None, "an address such as http://proxy.internal:3128", parse, print)
}
