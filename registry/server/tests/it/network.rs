//! A network whose registry settles: two coordinators, a miner and a checker, all of account 1.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adit_ledger::registration::{NodeKeys, Possession, Profile, Registration, Role};
use adit_ledger::state::{Closing, Head};
use adit_ledger::{Action, Key, State};
use adit_net::ManualClock;
use adit_net::log::{FolderSource, LogReader};
use adit_net::tls::Roots;
use adit_protocol::network::entry::Decision;
use adit_protocol::{Amount, Document as _};
use adit_registry::follow::{Follower, trust};
use adit_registry::settling::audit::{AuditError, Auditor, Recomputed};
use adit_registry::settling::extract::Judged;
use adit_registry::settling::logs::{LogsError, Places};
use adit_registry::settling::open;
use adit_registry::settling::program::{Programs, Sandbox};
use adit_registry::settling::settler::SettlerOptions;
use adit_registry::settling::sources::log_trust;
use adit_registry::{Options, Registry, Running, StartError};
use adit_runtime::store::blobs::BlobStore;
use rand_core::OsRng;

use super::coordinator::{Place, Written, keys};
use super::support::*;

/// Node keys; the next number is the log key, or the cosigning key.
pub const A: u8 = 100;
pub const B: u8 = 110;
pub const CHECKER: u8 = 120;
pub const MINER: u8 = 130;
/// Pays the fees of the checker.
pub const FEES: u8 = 2;
const NAME: &str = "checker.example/one";

pub struct Network {
    pub folder: tempfile::TempDir,
    pub clock: ManualClock,
    pub registry: Running,
    pub a: Written,
    pub b: Written,
    pub at_a: Place,
    pub at_b: Place,
}

impl Network {
    /// In epoch 0, with 1000 tokens in both escrows. `fees` is what the checker has for fees.
    pub async fn new(fees: Amount) -> Network {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::at_ms(BEGIN_MS + 1);
        let (a, b) = (Written::new(A), Written::new(B));
        let (at_a, at_b) = (Place::of(&a.folder()).await, Place::of(&b.folder()).await);
        let registry = Registry::start(settling(folder.path(), &clock))
            .await
            .unwrap();
        let all = [
            (Role::Coordinator, A, 200_000, Some(at_a.url())),
            (Role::Coordinator, B, 200_000, Some(at_b.url())),
            (
                Role::Checker,
                CHECKER,
                50_000,
                Some("http://127.0.0.1:1".to_owned()),
            ),
            (Role::Miner, MINER, 20_000, None),
        ];
        let amount = Amount::tokens(470_000);
        done(&registry, 1, Action::Stake { amount }).await;
        for (role, node, bond, url) in all {
            done(&registry, 1, register(role, node, bond, url)).await;
        }
        for node in [A, B] {
            let (node, amount) = (key(node), Amount::tokens(1_000));
            done(&registry, 1, Action::Deposit { node, amount }).await;
        }
        let network = Network {
            folder,
            clock,
            registry,
            a,
            b,
            at_a,
            at_b,
        };
        network.pay(FEES, fees).await;
        network
    }

    pub async fn pay(&self, to: u8, amount: Amount) {
        let to = key(to);
        done(&self.registry, 1, Action::Transfer { to, amount }).await;
    }

    /// Stopped or killed, and started again, perhaps without a checker.
    pub async fn restart(self, stop: bool, change: impl Fn(&mut Options)) -> Network {
        let Network {
            folder,
            clock,
            registry,
            a,
            b,
            at_a,
            at_b,
        } = self;
        match stop {
            true => registry.stop().await,
            false => drop(registry),
        }
        for _ in 0..200 {
            let mut options = settling(folder.path(), &clock);
            change(&mut options);
            match Registry::start(options).await {
                Ok(registry) => {
                    return Network {
                        folder,
                        clock,
                        registry,
                        a,
                        b,
                        at_a,
                        at_b,
                    };
                }
                Err(StartError::Store(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(error) => panic!("{error}"),
            }
        }
        panic!("the folder stays locked");
    }

    pub fn state(&self) -> State {
        self.registry
            .handle()
            .shared()
            .live()
            .unwrap()
            .state
            .clone()
    }

    pub fn head(&self) -> Head {
        self.state().head().clone()
    }

    pub fn rewards(&self) -> PathBuf {
        self.folder.path().join("rewards")
    }

    /// Goes on to the beginning of an epoch.
    pub async fn epoch(&self, epoch: u64) {
        self.clock.set_ms(BEGIN_MS + epoch * EPOCH_MS);
        self.until("the epoch begins", |head| head.epoch == epoch)
            .await;
    }

    /// Until all epochs before this one are settled.
    pub async fn settled(&self, next: u64) {
        self.until("it is settled", |head| head.settled == next)
            .await;
    }

    pub async fn until(&self, what: &str, is: impl Fn(&Head) -> bool) {
        self.until_state(what, |state| is(state.head())).await;
    }

    /// Waits for something, while time goes on a little: whoever could not be reached is asked again.
    pub async fn until_state(&self, what: &str, is: impl Fn(&State) -> bool) {
        use adit_net::Clock as _;
        for _ in 0..400 {
            let state = self.state();
            if is(&state) {
                return;
            }
            let head = state.head();
            let end_ms = BEGIN_MS + (head.epoch + 1) * EPOCH_MS - 1_000;
            let now_ms = self.clock.now_ms();
            self.clock.set_ms((now_ms + 100).min(end_ms.max(now_ms)));
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        panic!("not within 16 seconds: {what}; {:?}", self.head());
    }

    /// No more than a few looks of the checker, in which nothing is settled.
    pub async fn not_settled(&self, next: u64) {
        for _ in 0..20 {
            assert_eq!(self.head().settled, next);
            self.clock
                .set_ms(adit_net::Clock::now_ms(&self.clock) + 300);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What is not settled yet, of A and then of B: whether it is accepted, what was decided, and what
    /// it brings.
    pub async fn open(&self) -> Vec<(bool, Option<Decision>, u128)> {
        let state = self.state();
        let mut logs = open::logs(&state);
        let answer = get(&self.registry, "/v1/rewards/open").await.unwrap();
        assert_eq!(answer["logs"], serde_json::to_value(&logs).unwrap());
        logs.sort_by_key(|log| log.coordinator != key(A));
        let mut all = Vec::new();
        for log in logs {
            let next = state.head().settled;
            let roots = Roots::none();
            let found = open::receipts(genesis().hash(), &log, next, &roots);
            let found = found.await.unwrap();
            let fee_ppm = state.parameters().rewards.fee_ppm;
            let brings = |one: &Judged| open::brings(one, fee_ppm).units();
            all.extend((found.iter()).map(|one| (one.accepted, one.decision, brings(one))));
        }
        all
    }

    /// Where an auditor reads logs.
    pub fn folders(&self) -> Folders {
        Folders(BTreeMap::from([
            (key(A), (self.a.folder(), key(A + 1))),
            (key(B), (self.b.folder(), key(B + 1))),
        ]))
    }

    /// Every settlement in the log, computed again from the coordinators' own folders; all that is
    /// acknowledged is there.
    pub async fn audit(
        &self,
        places: Folders,
    ) -> Result<(Vec<Recomputed>, Auditor<Folders>), AuditError> {
        for _ in 0..200 {
            let head = self.head();
            let follower = Follower::new(&genesis(), &ledger()).unwrap();
            let programs = Arc::new(programs(&self.folder.path().join("audit")));
            let mut auditor = Auditor::new(follower, places.clone(), programs);
            let source = FolderSource(self.folder.path().join("log"));
            let reader = LogReader::new(source, trust(&genesis(), &ledger()).unwrap());
            let newest = reader.checkpoint().await.unwrap().checkpoint;
            let walk = reader.walk(&newest, 0..newest.size, Default::default());
            let mut walk = walk.await.unwrap();
            let mut all = Vec::new();
            while let Some(bundle) = walk.next().await.unwrap() {
                for (_, entry) in bundle.entries() {
                    all.extend(auditor.entry(entry).await?);
                }
            }
            // A checkpoint covers what was answered a moment later.
            if *auditor.follower().state().head() == head {
                return Ok((all, auditor));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the log does not come to the registry's state");
    }

    /// The same, where all must agree and all tokens be there.
    pub async fn agreed(&self) -> (Vec<Recomputed>, Auditor<Folders>) {
        let (all, auditor) = self.audit(self.folders()).await.unwrap();
        for one in &all {
            assert!(one.agrees(), "{:?}\n{:?}", one.said, one.found.settlement);
        }
        let state = self.state();
        let head = state.head();
        assert_eq!(Some(state.supply().total()), head.issued.minus(head.burned));
        (all, auditor)
    }
}

/// A program that becomes a worker: cargo builds it beside the tests.
fn worker() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.ancestors().nth(2).unwrap().join("adit-worker")
}

fn programs(folder: &Path) -> Programs {
    let open = |name: &str| BlobStore::open(folder.join(name)).unwrap();
    Programs::new(Sandbox {
        worker: worker(),
        components: open("components"),
        scratch: open("scratch"),
        code: folder.join("code"),
    })
}

pub fn settling(folder: &Path, clock: &ManualClock) -> Options {
    Options {
        settler: Some(SettlerOptions {
            account: keypair(FEES),
            node: keypair(CHECKER),
            name: NAME.parse().unwrap(),
            cosign: keypair(CHECKER + 1),
            roots: Roots::none(),
            worker: worker(),
        }),
        ..options(folder, clock)
    }
}

pub fn register(role: Role, node: u8, bond: u64, url: Option<String>) -> Action {
    let keys = match role {
        Role::Miner => NodeKeys {
            node: key(node),
            log: None,
        },
        _ => keys(node),
    };
    let possession = Possession {
        genesis: genesis().hash(),
        operator: key(1),
        keys,
    };
    Action::Register {
        registration: Registration {
            role,
            keys,
            name: (role == Role::Checker).then(|| NAME.to_owned()),
            profile: Profile {
                commission_ppm: 100_000,
                url,
                region: None,
                introduction: None,
                service: None,
            },
            proof: possession.sign(&keypair(node), &mut OsRng),
        },
        bond: Amount::tokens(bond),
    }
}

/// Folders and log keys by the key that a log is named by.
#[derive(Clone)]
pub struct Folders(pub BTreeMap<Key, (PathBuf, Key)>);

impl Places for Folders {
    type Source = FolderSource;

    async fn log(
        &mut self,
        coordinator: &Key,
        _: u64,
        closing: &Closing,
    ) -> Result<LogReader<FolderSource>, LogsError> {
        let node_key = &closing.node_key;
        let Some((folder, log)) = self.0.get(node_key) else {
            return Err(LogsError::Nowhere {
                coordinator: *coordinator,
                why: "there is no folder".to_owned(),
            });
        };
        let trust = log_trust(&genesis().hash(), node_key, log).unwrap();
        Ok(LogReader::new(FolderSource(folder.clone()), trust))
    }
}
