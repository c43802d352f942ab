//! Arguments of the operator's commands.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use sandscope_config::{Arguments, DataDirectory, Place};

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key and print it: the only time it can be seen
    Create {
        /// What people call it
        #[arg(long, default_value = "key")]
        name: String,
        #[command(flatten)]
        settings: Box<Arguments<DataDirectory>>,
    },
    /// List keys: id, what may be shown of the key, name, when it was last used
    List {
        #[command(flatten)]
        settings: Box<Arguments<DataDirectory>>,
    },
    /// Delete a key; a running server refuses it within a second
    Delete {
        /// The key's id, from `key list`
        id: String,
        #[command(flatten)]
        settings: Box<Arguments<DataDirectory>>,
    },
}

#[derive(Debug, Subcommand)]
pub enum TlsCommand {
    /// Make an authority for this machine and, by it, a certificate for localhost and a domain; prints what clients need
    SelfSigned {
        /// Where they are written: ca.pem, cert.pem, key.pem; none of them may be there yet
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Domain of sandboxes' host names
        #[arg(long, value_name = "NAME", default_value = "e2b.localhost")]
        domain: String,
        /// Days until it expires, 1 to 825 (more is refused by some clients)
        #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=825))]
        days: u16,
    },
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// One JSON document instead of words
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: Arguments<Place>,
}

#[derive(Debug, Args)]
pub struct FsckArgs {
    /// One JSON document instead of words
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: Arguments<DataDirectory>,
}
