//! Certificates for a machine that has none: an authority made for the occasion and one certificate by it.
//!
//! The authority's key is never kept, so that a client that trusts `ca.pem` trusts this one certificate and nothing
//! that could be made later.

use anyhow::Context as _;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// What was made, each as PEM.
#[derive(Debug)]
pub struct Made {
    /// What clients have to trust.
    pub ca: String,
    /// The server's certificate.
    pub cert: String,
    /// Its private key.
    pub key: String,
}

/// Makes a certificate for `localhost`, the loopback addresses, `domain` and every name one label below it, from the
/// day before `now` until `days` after it.
///
/// # Errors
/// If `domain` is no valid name, `days` reach beyond the calendar, or a key cannot be made.
pub fn make(domain: &str, now: Timestamp, days: u16) -> anyhow::Result<Made> {
    let (from, today, until) = (day(now, -1)?, day(now, 0)?, day(now, days.into())?);
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, format!("Sandscope on this machine, made {today}"));
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_days(&mut ca, from, until);
    let ca_key = KeyPair::generate().context("cannot make a key")?;
    let ca_cert = ca.self_signed(&ca_key).context("cannot make the authority")?;

    let names = ["localhost", domain, &format!("*.{domain}"), "127.0.0.1", "::1"].map(str::to_owned);
    let mut leaf = CertificateParams::new(names).context("the domain is not valid in a certificate")?;
    leaf.distinguished_name.push(DnType::CommonName, domain);
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    set_days(&mut leaf, from, until);
    let key = KeyPair::generate().context("cannot make a key")?;
    let cert = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).context("cannot make the certificate")?;
    Ok(Made { ca: ca_cert.pem(), cert: cert.pem(), key: key.serialize_pem() })
}

/// The day `days` from `now`.
fn day(now: Timestamp, days: i64) -> anyhow::Result<Date> {
    let today = TimeZone::UTC.to_datetime(now).date();
    today.checked_add(Span::new().days(days)).context("the calendar ends before the certificate")
}

/// Sets for which days `params` hold.
fn set_days(params: &mut CertificateParams, from: Date, until: Date) {
    let start =
        |day: Date| date_time_ymd(day.year().into(), day.month().unsigned_abs(), day.day().unsigned_abs());
    params.not_before = start(from);
    params.not_after = start(until);
}
