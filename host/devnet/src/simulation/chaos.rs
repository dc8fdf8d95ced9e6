//! What goes wrong, and when.

use std::sync::Arc;

use super::world::{Weather, Who, World};

/// For how long things go wrong at most, in milliseconds.
const TROUBLE_MS: u64 = 120_000;

/// Lets things go wrong, until all is to be well.
pub async fn run(world: Arc<World>) {
    let until_ms = 20_000 + world.below(TROUBLE_MS - 20_000);
    let crashes = world.below(4) != 0;
    let mean_ms = 500 + world.below(8_000);
    world.set_weather(weather(&world));
    skew(&world);
    while world.virtual_ms() < until_ms {
        world.pause(2 * mean_ms).await;
        // Between any two parts that have something to do at this moment.
        for _ in 0..world.below(24) {
            tokio::task::yield_now().await;
        }
        let who = somebody(&world);
        match world.below(10) {
            0..=2 if crashes => world.end(who),
            3..=6 if crashes => {
                let steps = world.below(20);
                world.light(who, u32::try_from(steps).unwrap_or(0));
            }
            7 => {
                let cut_off = !world.is_cut_off(who);
                world.note(&format_args!("{who:?} is cut off: {cut_off}"));
                world.cut_off(who, cut_off);
            }
            8 => world.set_weather(weather(&world)),
            _ => skew(&world),
        }
    }
    world.heal();
}

/// The coordinator about as often as all miners.
fn somebody(world: &World) -> Who {
    let miners = u64::from(world.options.miners.max(1));
    match world.below(2 * miners) {
        at if at < miners => Who::Miner(u32::try_from(at).unwrap_or(0)),
        _ => Who::Coordinator,
    }
}

fn weather(world: &World) -> Weather {
    let ppm = |most| u32::try_from(world.below(most)).unwrap_or(0);
    let bad = world.below(3) != 0;
    Weather {
        loss_ppm: if bad { ppm(150_000) } else { 0 },
        double_ppm: ppm(100_000),
        delay_ms: 1 + world.below(60),
    }
}

/// Clocks within what a network allows for.
fn skew(world: &World) {
    for who in (0..world.options.miners)
        .map(Who::Miner)
        .chain([Who::Coordinator])
    {
        let skew = i64::try_from(world.below(6_000)).unwrap_or(0) - 3_000;
        world.set_skew(who, skew);
    }
}
