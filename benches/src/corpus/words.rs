//! The words that names, paths and free text are made of.

use std::sync::LazyLock;

/// Running text: what people write into log calls.
pub(crate) static TEXT: LazyLock<Vec<&str>> = LazyLock::new(|| TEXT_WORDS.split_whitespace().collect());

const TEXT_WORDS: &str = "
    account adjusted after aggregate alias amount another approval archive asset attempt
    available average backlog balance batch before between billing bonus booking branch budget
    bundle cache calendar campaign cancelled capacity carrier catalogue category channel charge
    checkout claim cleanup client cohort column commission company complaint computed contract
    conversion coupon credit currency customer daily database deadline default delivery deposit
    derived device dimension discount document domain draft duplicate during early employee
    empty estimate event exchange existing expected export extra factor feature feedback fiscal
    flagged forecast foreign format freight fresh gateway global goods grouped handling header
    historic holiday hourly ignored import income index indicator insurance interest interval
    inventory invoice joined journal keyword label landing lapsed latest ledger legacy lineage
    loyalty manual margin market master matching measure median member merchant merged missing
    monthly movement network nightly normalised notice obsolete offline online order origin
    outbound overdue overlap package parcel partial partner payment pending percentile period
    pipeline policy portfolio position premium price profile provider purchase quality quarter
    queue quota quote range rating rebate receipt recent record refund region remaining renewal
    replica report request reserve result retail return revenue reversal review rolling route
    rule salary sample schema score season segment session settled shadow shipment signal
    snapshot source staging statement station status stock storage subset summary supplier
    supply suspended target tariff tax template threshold ticket token total transfer travel
    treasury trial turnover unit unmatched update usage valid variance vendor version visit
    volume voucher warehouse weekly weight window withdrawal without workload yearly yield zone";

pub(crate) const FIRST_NAMES: &[&str] = &[
    "adam", "agnes", "amara", "andrei", "anna", "arjun", "bianca", "carlos", "chen", "clara", "daniel",
    "dilara", "elena", "emeka", "emil", "eva", "fatima", "felix", "freya", "gabriel", "greta", "hana",
    "hugo", "ines", "ivan", "jana", "jonas", "julia", "kenji", "lars", "laura", "leila", "liam", "lina",
    "marco", "maria", "mateo", "maya", "mehmet", "mila", "nadia", "nils", "noah", "nora", "olga", "omar",
    "oskar", "paula", "pavel", "priya", "rafael", "ravi", "rosa", "samir", "sara", "sofia", "stefan",
    "tariq", "theo", "tomas", "ursula", "vera", "wei", "yara", "yusuf", "zoe",
];

pub(crate) const LAST_NAMES: &[&str] = &[
    "abara",
    "ahmed",
    "almeida",
    "andersson",
    "bauer",
    "becker",
    "bianchi",
    "brandt",
    "castillo",
    "cohen",
    "costa",
    "demir",
    "diallo",
    "dubois",
    "eriksen",
    "fischer",
    "fontaine",
    "garcia",
    "greco",
    "gupta",
    "haas",
    "hansen",
    "hartmann",
    "horvat",
    "ibrahim",
    "ito",
    "ivanov",
    "jansen",
    "jensen",
    "kaya",
    "keller",
    "khan",
    "kim",
    "klein",
    "kowalski",
    "kumar",
    "lang",
    "lehmann",
    "lopez",
    "maier",
    "marino",
    "martin",
    "mehta",
    "meyer",
    "moreau",
    "nagy",
    "nakamura",
    "neumann",
    "novak",
    "okafor",
    "olsen",
    "park",
    "patel",
    "pereira",
    "petrov",
    "popescu",
    "rossi",
    "roth",
    "santos",
    "sato",
    "schmidt",
    "schulz",
    "silva",
    "singh",
    "sokolov",
    "suzuki",
    "tanaka",
    "torres",
    "vargas",
    "vogel",
    "wagner",
    "wang",
    "weber",
    "winkler",
    "yilmaz",
    "zhang",
];

pub(crate) const DOMAINS: &[&str] = &[
    "finance",
    "crm",
    "logistics",
    "marketing",
    "hr",
    "risk",
    "payments",
    "catalog",
    "inventory",
    "support",
    "telemetry",
    "pricing",
    "compliance",
    "search",
    "growth",
    "ledger",
];

pub(crate) const ACTIONS: &[&str] = &[
    "load",
    "extract",
    "sync",
    "export",
    "import",
    "merge",
    "refresh",
    "rebuild",
    "score",
    "validate",
    "archive",
    "snapshot",
    "reconcile",
    "enrich",
    "publish",
    "aggregate",
];

pub(crate) const THINGS: &[&str] = &[
    "orders",
    "customers",
    "invoices",
    "shipments",
    "sessions",
    "payments",
    "products",
    "refunds",
    "tickets",
    "leads",
    "events",
    "balances",
    "contracts",
    "employees",
    "claims",
    "devices",
    "campaigns",
    "returns",
    "suppliers",
    "positions",
    "trades",
    "visits",
    "subscriptions",
    "quotes",
];

pub(crate) const RHYTHMS: &[&str] = &["daily", "hourly", "weekly", "monthly", "backfill", "intraday"];

pub(crate) const TASKS: &[&str] = &[
    "start",
    "wait_for_file",
    "extract",
    "check_schema",
    "transform",
    "deduplicate",
    "join_dimensions",
    "load",
    "run_quality_checks",
    "build_report",
    "notify",
    "cleanup",
    "train_model",
    "upload_to_bucket",
    "vacuum",
    "end",
];

/// Words in other scripts, as users' own messages hold them.
pub(crate) const FOREIGN: &[&str] = &[
    "Größe der Lieferung geprüft",
    "Übertragung nach Köln abgeschlossen",
    "Prüfung läuft für Müller Straße",
    "Schlüssel für die Tabelle ungültig",
    "处理完成 订单 已同步",
    "数据 加载 成功",
    "任务 开始 运行",
    "✅ deploy finished 🚀",
    "⚠️ disk nearly full 😬",
    "🎉 all partitions published",
];

pub(crate) const ADJECTIVES: &[&str] = &[
    "solar",
    "quantum",
    "celestial",
    "lunar",
    "stellar",
    "cosmic",
    "galactic",
    "orbital",
    "radiant",
    "spectral",
    "primal",
    "magnetic",
    "meteoric",
    "false",
    "boreal",
    "arctic",
];

pub(crate) const OBJECTS: &[&str] = &[
    "prism", "flare", "ray", "orbit", "nova", "comet", "parallax", "horizon", "axis", "spectrum", "antenna",
    "rover", "zenith", "meteor", "quasar", "corona",
];
