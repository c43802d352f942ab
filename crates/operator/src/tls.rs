use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use sandscope_model::Clock as _;

use crate::arguments::TlsCommand;
use crate::certificate::{self, Made};
use sandscope_config::Domain;
use sandscope_console::output;
use sandscope_system::SystemClock;

/// `sandscope tls …`
pub(crate) fn run(command: TlsCommand) -> anyhow::Result<ExitCode> {
    let TlsCommand::SelfSigned { out, domain, days } = command;
    let Ok(Domain { name, port: None }) = domain.parse() else {
        anyhow::bail!("--domain must be a host name of letters, digits, hyphens and dots");
    };
    let made = certificate::make(&name, SystemClock.now(), days)?;
    DirBuilder::new().recursive(true).mode(0o755).create(&out).with_context(|| out.display().to_string())?;
    let out = out.canonicalize().with_context(|| out.display().to_string())?;
    write(&out, &made)?;
    output::line(instructions(&out, &name))?;
    Ok(ExitCode::SUCCESS)
}

/// The key first: if one of them is there already, what clients trust is not replaced.
fn write(out: &Path, made: &Made) -> anyhow::Result<()> {
    for name in ["key.pem", "cert.pem", "ca.pem"] {
        let path = out.join(name);
        let there = path.try_exists().with_context(|| path.display().to_string())?;
        anyhow::ensure!(!there, "{} is there already; name another directory or remove it", path.display());
    }
    for (name, mode, text) in
        [("key.pem", 0o600, &made.key), ("cert.pem", 0o644, &made.cert), ("ca.pem", 0o644, &made.ca)]
    {
        let path = out.join(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Lines a shell can evaluate, with the server's command as a comment.
fn instructions(out: &Path, domain: &str) -> String {
    let path = |name: &str| quoted(&out.join(name).to_string_lossy());
    let (ca, cert, key) = (path("ca.pem"), path("cert.pem"), path("key.pem"));
    format!(
        "# sandscope serve --domain {domain} --tls-cert {cert} --tls-key {key}\n\
         # and, for clients on this machine:\n\
         export NODE_EXTRA_CA_CERTS={ca}\n\
         export SSL_CERT_FILE={ca}"
    )
}

/// As a shell reads it in one piece.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_for_a_shell() {
        assert_eq!(quoted("/a/b-c_d.pem"), "/a/b-c_d.pem");
        assert_eq!(quoted("/it's here"), r"'/it'\''s here'");
    }
}
