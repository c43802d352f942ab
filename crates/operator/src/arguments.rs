//! Arguments of the operator's commands.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use sandscope_config::{Arguments, DataDirectory, DirectoryAndAddress};

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Create a key and print it, only this once
    Create {
        /// Name of the key
        #[arg(long, default_value = "key")]
        name: String,
        #[command(flatten)]
        settings: Box<Arguments<DataDirectory>>,
    },
    /// List keys: id, masked key, name, last use
    List {
        /// Deleted keys instead, which events may still name; for at least a year
        #[arg(long)]
        deleted: bool,
        /// Print one JSON value per line
        #[arg(long)]
        json: bool,
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
    /// Create an authority and a certificate for localhost and a domain; prints what clients need
    SelfSigned {
        /// Directory for ca.pem, cert.pem and key.pem, none of which may exist
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
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: Arguments<DirectoryAndAddress>,
}

#[derive(Debug, Args)]
pub struct FsckArgs {
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: Arguments<DataDirectory>,
}
