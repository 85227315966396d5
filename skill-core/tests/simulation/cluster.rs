//! The processes, and what happens to them.

use std::{
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use jiff::SignedDuration;
use skill_core::{
    Engine, ErrorKind,
    credential::seal::Keyring,
    integration::{Integration, Overrides, declared},
    store::MemoryStore,
    webhook,
};
use tokio::time::{Instant, sleep};

use super::{
    node::Node,
    store::Flaky,
    upstream::{Kind, Wire},
    walk::Walk,
    world::World,
};

/// Where an engine runs.
struct Place {
    node: Arc<Node>,
    engine: Option<Engine>,
}

/// All places over one store.
pub(crate) struct Cluster {
    pub(crate) world: Arc<World>,
    pub(crate) store: Arc<MemoryStore>,
    places: Mutex<Vec<Place>>,
}

impl Cluster {
    pub(crate) async fn start(world: Arc<World>) -> Arc<Self> {
        let begun = Instant::now();
        let places = (0..world.plan.nodes)
            .map(|number| Place { node: Node::new(number, begun), engine: None })
            .collect();
        let cluster = Arc::new(Self {
            world,
            store: Arc::new(MemoryStore::new()),
            places: Mutex::new(places),
        });
        for number in 0..cluster.world.plan.nodes {
            cluster.boot(number).await;
        }
        cluster
    }

    pub(crate) fn node(&self, number: usize) -> Arc<Node> {
        self.places.lock().unwrap()[number].node.clone()
    }

    /// Starts the engine of a place; a start that fails is tried again, as a supervisor does.
    async fn boot(&self, number: usize) {
        loop {
            let node = self.node(number);
            let store = Arc::new(Flaky {
                node: node.clone(),
                inner: self.store.clone(),
                world: self.world.clone(),
            });
            let wire = Arc::new(Wire { node: node.clone(), world: self.world.clone() });
            let builder = Engine::builder(wire)
                .store(store, keyring())
                .clock(node.clone())
                .integrations([desk()])
                .queue(self.world.plan.settings())
                .webhooks(webhook::Settings { at_once: 0, ..webhook::Settings::default() })
                .skill(Walk::skill("walk", &node, &self.world))
                .skill(Walk::skill("file", &node, &self.world));
            match builder.build().await {
                Ok(engine) => {
                    self.world.note(&node, "process", "starts");
                    self.places.lock().unwrap()[number].engine = Some(engine);
                    return;
                }
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    node.kill();
                    sleep(Duration::from_millis(500)).await;
                    self.places.lock().unwrap()[number].node = node.again();
                }
                Err(error) => panic!("an engine cannot be built: {}", error.log_line()),
            }
        }
    }

    /// Ends a process where it stands, and starts another in its place.
    async fn crash(&self, number: usize, pause: Duration) {
        let node = self.node(number);
        self.world.note(&node, "process", "dies");
        node.kill();
        self.places.lock().unwrap()[number].engine = None;
        sleep(pause).await;
        self.places.lock().unwrap()[number].node = node.again();
        self.boot(number).await;
    }

    /// Ends a process as an operator does, and starts another in its place.
    async fn stop(&self, number: usize) {
        let engine = self.places.lock().unwrap()[number].engine.take();
        if let Some(engine) = engine {
            self.world.note(&self.node(number), "process", "is told to end");
            // A supervisor kills what does not obey.
            drop(tokio::time::timeout(Duration::from_secs(90), engine.stop()).await);
        }
        self.crash(number, Duration::from_millis(100)).await;
    }

    /// An engine that can be asked. There is one in a moment at the latest.
    pub(crate) async fn any(&self) -> Engine {
        loop {
            let engines: Vec<Engine> = {
                let places = self.places.lock().unwrap();
                places.iter().filter_map(|place| place.engine.clone()).collect()
            };
            if !engines.is_empty() {
                return self.world.dice.pick(&engines);
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Everything that goes wrong with processes, until it is over.
    pub(crate) async fn chaos(&self) {
        let (plan, dice) = (&self.world.plan, &self.world.dice);
        let end = Instant::now() + plan.chaos;
        let kinds = [plan.crash_every, plan.freeze_every, plan.jump_every, plan.stop_every];
        let mut next: Vec<_> = kinds.iter().map(|every| self.moment(*every)).collect();
        loop {
            let Some((which, at)) = next
                .iter()
                .copied()
                .enumerate()
                .filter_map(|(n, at)| Some((n, at?)))
                .min_by_key(|(_, at)| *at)
            else {
                return tokio::time::sleep_until(end).await;
            };
            if at >= end {
                return tokio::time::sleep_until(end).await;
            }
            tokio::time::sleep_until(at).await;
            let number = usize::try_from(dice.below(plan.nodes as u64)).unwrap();
            match which {
                0 => self.crash(number, dice.delay(3_000)).await,
                1 => {
                    let time = dice.delay(120_000);
                    self.world.note(&self.node(number), "process", "is frozen");
                    self.node(number).freeze(time);
                }
                2 => {
                    let by = dice.pick(&[-60, -5, 5, 60, 3600]);
                    self.world.note(&self.node(number), "clock", "jumps");
                    self.node(number).jump(SignedDuration::from_secs(by));
                }
                _ => self.stop(number).await,
            }
            next[which] = self.moment(kinds[which]);
        }
    }

    fn moment(&self, every: u64) -> Option<Instant> {
        (every > 0)
            .then(|| Instant::now() + Duration::from_millis(1 + self.world.dice.below(2 * every)))
    }

    /// Every process dies once more.
    pub(crate) async fn restart(&self) {
        for number in 0..self.world.plan.nodes {
            self.crash(number, Duration::from_millis(10)).await;
        }
    }
}

/// The same key every time, so that every process can read the store.
fn keyring() -> Keyring {
    "1:MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=".parse().ok().unwrap()
}

/// The service, as the engine knows it.
fn desk() -> Arc<dyn Integration> {
    static DESK: OnceLock<Arc<dyn Integration>> = OnceLock::new();
    let make = || {
        let mut text =
            "name = \"Desk\"\ndescription = \"For tests.\"\nbase_url = \"https://desk.test\"\n\
             [auth]\nscheme = \"none\"\n"
                .to_owned();
        for kind in Kind::ALL {
            let name = kind.name();
            let method = if kind == Kind::Read { "GET" } else { "POST" };
            text += &format!(
                "[endpoints.{name}]\nsummary = \"{name}\"\nmethod = \"{method}\"\npath = \"/{name}\"\n\
                 timeout_s = 20\nparams = {{ tag = {{ type = \"string\", required = true }} }}\n"
            );
            text +=
                if kind.takes_key() { "idempotency_header = \"Idempotency-Key\"\n" } else { "" };
            text += if kind == Kind::Pay { "at_most_once = true\n" } else { "" };
        }
        declared("desk.toml", &text, &Overrides::default()).unwrap()
    };
    DESK.get_or_init(make).clone()
}
