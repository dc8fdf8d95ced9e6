//! `adit key`: make, show and use sr25519 keys.
//!
//! Secrets come from files, from the terminal or from standard input, and never from the command
//! line, which every user of a machine can read.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use adit_protocol::keys::keystore::{Keystore, MAX_FILE, ScryptCost};
use adit_protocol::keys::{Keypair, PublicKey, mnemonic, ss58};
use adit_protocol::receipt::CONTEXT as SUBSTRATE;
use anyhow::Context as _;
use rand_core::{OsRng, RngCore as _};
use serde_json::json;
use zeroize::Zeroizing;

use crate::error::{Exit, Failure};
use crate::input::{read_file, read_stdin};
use crate::keyring::{self, PasswordFile};
use crate::state::State;
use crate::text::{hex, one_line};
use crate::ui::{Ui, to_stderr};

/// The signing context of messages that are for nothing else.
const MESSAGE: &[u8] = b"adit-message-v1";
/// Longest message that is signed, in bytes.
const MESSAGE_BYTES_MAX: u64 = 64 << 20;

/// The subcommands of `adit key`.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Make a new key; its recovery phrase is printed once, on stderr
    New {
        /// Words of the recovery phrase
        #[arg(long, value_name = "12|24", default_value = "12", value_parser = words)]
        words: usize,
        /// Keep the key in this file, encrypted under a password as wallets do (polkadot-js JSON)
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        password: PasswordFile,
    },
    /// Show the address and public key of a key; of a keystore no password is needed
    Show {
        /// A keystore file, an address, `local`, a development key as //Alice, or - for a secret
        /// URI on stdin
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// Sign a file
    Sign {
        /// The file, or - for stdin
        #[arg(value_name = "FILE")]
        message: PathBuf,
        /// A keystore file, `local`, a development key as //Alice, or - for a secret URI on stdin
        #[arg(long)]
        key: String,
        /// What the signature is for
        #[arg(long, value_enum, default_value = "message")]
        context: Context,
        #[command(flatten)]
        password: PasswordFile,
    },
}

/// What a signature is for: it cannot be taken for one of the other kind.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Context {
    /// A message between people or programs (context adit-message-v1)
    Message,
    /// As a wallet signs text: <Bytes>...</Bytes> under the context `substrate`. Transactions have
    /// this form too: sign only what you have read
    Wallet,
}

/// `adit key ...`.
pub fn command(ui: &Ui, state: &State, command: &Command) -> anyhow::Result<Exit> {
    match command {
        Command::New {
            words,
            out,
            password,
        } => new(ui, *words, out.as_deref(), password),
        Command::Show { key } => show(ui, state, key),
        Command::Sign {
            message,
            key,
            context,
            password,
        } => sign(ui, state, message, key, *context, password),
    }
}

fn words(text: &str) -> Result<usize, String> {
    match text {
        "12" => Ok(12),
        "24" => Ok(24),
        _ => Err("a phrase has 12 or 24 words".to_owned()),
    }
}

fn new(ui: &Ui, words: usize, out: Option<&Path>, password: &PasswordFile) -> anyhow::Result<Exit> {
    // 16 bytes make 12 words, 32 make 24.
    let mut entropy = Zeroizing::new(vec![0; if words == 24 { 32 } else { 16 }]);
    OsRng.fill_bytes(&mut entropy);
    let phrase = mnemonic::from_entropy(&entropy)?;
    let keypair = Keypair::from_uri(&phrase)?;
    if let Some(path) = out {
        // Looked at before a password is asked for; the write itself does not replace either.
        if path.exists() {
            return Err(occupied(path).into());
        }
        let password = password.ask(true)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let keystore =
            Keystore::encrypt(&keypair, &password, &name, ScryptCost::STANDARD, &mut OsRng)?;
        create(path, keystore.to_json().as_bytes())?;
    } else if password.password_file.is_some() {
        return Failure::argument("the password has no use")
            .why("the key is not kept in a file")
            .hint("name a file with --out, or leave --password-file out")
            .into_err();
    }
    print_key(ui, &keypair.public(), out)?;
    // Whatever --quiet says: there is no other copy.
    to_stderr("the recovery phrase, which is shown this once; whoever has it has the key:\n\n");
    to_stderr(&format!("    {}\n\n", *phrase));
    to_stderr("write it down on paper, and keep it where nobody else can read it\n");
    Ok(Exit::Ok)
}

fn show(ui: &Ui, state: &State, key: &str) -> anyhow::Result<Exit> {
    if !Path::new(key).exists()
        && let Ok((_, public)) = ss58::decode_any(key)
    {
        print_key(ui, &public, None)?;
        return Ok(Exit::Ok);
    }
    if key != "local" && Path::new(key).is_file() {
        let (public, _) = keyring::public(state, key)?;
        print_key(ui, &public, None)?;
        if key_file_text(Path::new(key)) {
            return Ok(Exit::Ok);
        }
        ui.note("this is what the file says; that its secret fits is checked when it is used");
        return Ok(Exit::Ok);
    }
    let keypair = keyring::secret(ui, state, key, None)?.keypair;
    print_key(ui, &keypair.public(), None)?;
    Ok(Exit::Ok)
}

/// Whether a file begins as a key file does, whose key was read.
fn key_file_text(path: &Path) -> bool {
    read_file(path, MAX_FILE as u64, "the key").is_ok_and(|bytes| bytes.starts_with(b"0x"))
}

fn sign(
    ui: &Ui,
    state: &State,
    path: &Path,
    key: &str,
    context: Context,
    password: &PasswordFile,
) -> anyhow::Result<Exit> {
    let from_stdin = path == Path::new("-");
    if from_stdin && key == "-" {
        return Failure::argument("nothing can be signed")
            .why("standard input cannot be both the key and the message")
            .hint("give the message as a file")
            .into_err();
    }
    let message = match from_stdin {
        true => read_stdin(MESSAGE_BYTES_MAX)?,
        false => read_file(path, MESSAGE_BYTES_MAX, "the message")?,
    };
    let keypair = keyring::secret(ui, state, key, Some(password))?.keypair;
    let signature = match context {
        Context::Message => keypair.sign(MESSAGE, &message, &mut OsRng),
        Context::Wallet => {
            let wrapped = [b"<Bytes>", &message[..], b"</Bytes>"].concat();
            keypair.sign(SUBSTRATE, &wrapped, &mut OsRng)
        }
    };
    if ui.json {
        ui.object(&json!({
            "signature": hex(&signature),
            "public_key": hex(&keypair.public().to_bytes()),
            "address": ss58::encode(&keypair.public(), ss58::GENERIC_PREFIX),
            "context": match context {
                Context::Message => "adit-message-v1",
                Context::Wallet => "substrate",
            },
            "wrapped": matches!(context, Context::Wallet),
        }))?;
    } else {
        ui.line(hex(&signature))?;
    }
    Ok(Exit::Ok)
}

fn print_key(ui: &Ui, public: &PublicKey, file: Option<&Path>) -> anyhow::Result<()> {
    let address = ss58::encode(public, ss58::GENERIC_PREFIX);
    let digits = hex(&public.to_bytes());
    if ui.json {
        ui.object(&json!({ "address": address, "public_key": digits, "file": file }))
    } else {
        ui.line(format!("address     {address}"))?;
        ui.line(format!("public key  {digits}"))
    }
}

fn occupied(path: &Path) -> Failure {
    Failure::argument(format!(
        "{} exists already",
        one_line(&path.to_string_lossy())
    ))
    .why("a key is never overwritten")
    .hint("name another file")
}

/// Writes a new file with mode 0600: whole or not at all, and never over another.
fn create(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let failed = || format!("{} could not be written", path.display());
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(failed)?;
    file.write_all(bytes).with_context(failed)?;
    file.as_file().sync_all().with_context(failed)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(occupied(path).into())
        }
        Err(error) => Err(error.error).with_context(failed),
    }
}
