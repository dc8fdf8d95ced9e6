use crate::{error::Exit, state::State, ui::Ui};
#[derive(clap::Args)]
pub struct Args {}
pub fn command(_: &Ui, _: &State, _: &Args) -> anyhow::Result<Exit> { Ok(Exit::Ok) }
