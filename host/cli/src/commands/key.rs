use crate::{error::Exit, state::State, ui::Ui};
#[derive(clap::Subcommand)]
pub enum Command {X}
pub fn command(_: &Ui, _: &State, _: &Command) -> anyhow::Result<Exit> { Ok(Exit::Ok) }
