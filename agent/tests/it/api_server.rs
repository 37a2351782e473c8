//! A Kubernetes API server of a few lines: it lists and watches pods and namespaces, with bookmarks, and fails as
//! the real one does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{OriginalUri, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::stream;
use heliograph_agent::{ApiAccess, Kubernetes, Rights};
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the server has, and how it fails.
#[derive(Default)]
struct Cluster {
    version: u64,
    /// By kind (`pods`, `namespaces`) and uid or name.
    objects: BTreeMap<(&'static str, String), Value>,
    /// All changes: version, kind, event.
    log: Vec<(u64, &'static str, Value)>,
    /// Watches from before this version get 410.
    compacted: u64,
    away: bool,
    /// Answers nothing, and does not hang up either.
    silent: bool,
    /// Watches that began before this epoch are cut off.
    epoch: u64,
    /// Paths asked for.
    asked: Vec<String>,
}

type Shared = Arc<(Mutex<Cluster>, watch::Sender<()>)>;

/// The server, and the tasks that serve it.
pub(crate) struct ApiServer {
    url: String,
    shared: Shared,
    _tasks: JoinSet<std::io::Result<()>>,
}

impl ApiServer {
    /// On a free port.
    pub(crate) async fn start() -> Self {
        let shared: Shared = Arc::new((Mutex::default(), watch::channel(()).0));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new()
            .route("/api/v1/pods", get(pods))
            .route("/api/v1/namespaces/{namespace}/pods", get(pods))
            .route("/api/v1/namespaces", get(namespaces))
            .with_state(Arc::clone(&shared));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, app).await });
        Self { url, shared, _tasks: tasks }
    }

    /// One that does not answer until [`Self::come_back`].
    pub(crate) async fn start_away() -> Self {
        let server = Self::start().await;
        server.go_away();
        server
    }

    /// How an agent asks it, by a kubeconfig in `dir`.
    pub(crate) fn access(&self, dir: &Path, rights: Rights) -> Kubernetes {
        let path: PathBuf = dir.join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "c", "cluster": {"server": self.url}}],
            "users": [{"name": "u", "user": {"token": "sesame-api"}}],
            "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}],
        });
        std::fs::write(&path, config.to_string()).unwrap();
        Kubernetes { access: ApiAccess::Kubeconfig(path), rights }
    }

    /// Adds or changes a pod (with `metadata.uid`) or a namespace.
    pub(crate) fn put(&self, kind: &'static str, mut object: Value) {
        self.change(|cluster| {
            let key = key(&object);
            cluster.version += 1;
            object["metadata"]["resourceVersion"] = cluster.version.to_string().into();
            let was = cluster.objects.insert((kind, key), object.clone());
            let what = if was.is_some() { "MODIFIED" } else { "ADDED" };
            cluster.log.push((cluster.version, kind, json!({"type": what, "object": object})));
        });
    }

    /// Deletes an object by uid or name.
    pub(crate) fn delete(&self, kind: &'static str, key: &str) {
        self.change(|cluster| {
            let mut object = cluster.objects.remove(&(kind, key.to_owned())).unwrap();
            cluster.version += 1;
            object["metadata"]["resourceVersion"] = cluster.version.to_string().into();
            cluster.log.push((cluster.version, kind, json!({"type": "DELETED", "object": object})));
        });
    }

    /// Answers nobody any more, and cuts off watches.
    pub(crate) fn go_away(&self) {
        self.change(|cluster| (cluster.away, cluster.epoch) = (true, cluster.epoch + 1));
    }

    /// Takes requests and never answers them.
    pub(crate) fn fall_silent(&self) {
        self.change(|cluster| cluster.silent = true);
    }

    /// Answers again.
    pub(crate) fn come_back(&self) {
        self.change(|cluster| (cluster.away, cluster.silent) = (false, false));
    }

    /// Forgets what happened so far, and cuts off watches: who comes again gets 410 Gone.
    pub(crate) fn compact(&self) {
        self.change(|cluster| {
            cluster.version += 1;
            (cluster.compacted, cluster.epoch) = (cluster.version, cluster.epoch + 1);
            cluster.log.clear();
        });
    }

    /// Cuts off watches.
    pub(crate) fn disconnect(&self) {
        self.change(|cluster| cluster.epoch += 1);
    }

    /// The paths that were asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.shared.0.lock().asked.clone()
    }

    fn change(&self, change: impl FnOnce(&mut Cluster)) {
        change(&mut self.shared.0.lock());
        self.shared.1.send_replace(());
    }
}

fn key(object: &Value) -> String {
    let meta = &object["metadata"];
    meta["uid"].as_str().or(meta["name"].as_str()).unwrap().to_owned()
}

type Parameters = Query<BTreeMap<String, String>>;

async fn pods(
    State(shared): State<Shared>,
    OriginalUri(uri): OriginalUri,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Response {
    assert_eq!(headers["authorization"], "Bearer sesame-api");
    let node = parameters["fieldSelector"].strip_prefix("spec.nodeName=").unwrap().to_owned();
    let namespace = uri.path().strip_prefix("/api/v1/namespaces/").and_then(|p| p.split('/').next());
    let namespace = namespace.map(str::to_owned);
    let wanted = move |object: &Value| {
        object["spec"]["nodeName"] == *node
            && namespace.as_ref().is_none_or(|ns| object["metadata"]["namespace"] == **ns)
    };
    answer(&shared, uri.path(), "pods", &parameters, Arc::new(wanted)).await
}

async fn namespaces(
    State(shared): State<Shared>,
    OriginalUri(uri): OriginalUri,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Response {
    let accept = headers["accept"].to_str().unwrap();
    assert!(accept.contains("PartialObjectMetadata"), "{accept}");
    answer(&shared, uri.path(), "namespaces", &parameters, Arc::new(|_: &Value| true)).await
}

type Wanted = Arc<dyn Fn(&Value) -> bool + Send + Sync>;

async fn answer(
    shared: &Shared,
    path: &str,
    kind: &'static str,
    parameters: &BTreeMap<String, String>,
    wanted: Wanted,
) -> Response {
    shared.0.lock().asked.push(path.to_owned());
    while shared.0.lock().silent {
        shared.1.subscribe().changed().await.unwrap();
    }
    let cluster = shared.0.lock();
    if cluster.away {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let json_type = [("content-type", "application/json")];
    if parameters.get("watch").is_some_and(|w| w == "true" || w == "1") {
        let from: u64 = parameters["resourceVersion"].parse().unwrap();
        if from < cluster.compacted {
            let gone = json!({"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "metadata": {},
                "status": "Failure", "reason": "Expired", "code": 410, "message": "too old resource version"}});
            return (json_type, format!("{gone}\n")).into_response();
        }
        let body = events(shared, kind, from, cluster.epoch, wanted);
        return (json_type, body).into_response();
    }
    let all = cluster.objects.iter();
    let items: Vec<_> = all.filter(|((k, _), o)| *k == kind && wanted(o)).map(|(_, object)| object).collect();
    let meta = json!({"resourceVersion": cluster.version.to_string()});
    let list = json!({"kind": "List", "apiVersion": "v1", "metadata": meta, "items": items});
    (json_type, list.to_string()).into_response()
}

/// Events after a version, as they happen, each followed by a bookmark.
fn events(shared: &Shared, kind: &'static str, from: u64, epoch: u64, wanted: Wanted) -> Body {
    let (shared, news) = (Arc::clone(shared), shared.1.subscribe());
    Body::from_stream(stream::unfold((shared, news, from), move |(shared, mut news, from)| {
        let wanted = Arc::clone(&wanted);
        async move {
            loop {
                let (text, version) = {
                    let cluster = shared.0.lock();
                    if cluster.epoch != epoch {
                        return None;
                    }
                    let new = cluster
                        .log
                        .iter()
                        .filter(|(v, k, e)| *v > from && *k == kind && wanted(&e["object"]));
                    let mut text: String = new.map(|(_, _, event)| format!("{event}\n")).collect();
                    if cluster.version > from {
                        let meta = json!({"resourceVersion": cluster.version.to_string()});
                        let object = json!({"kind": "Bookmark", "apiVersion": "v1", "metadata": meta});
                        text.push_str(&format!("{}\n", json!({"type": "BOOKMARK", "object": object})));
                    }
                    (text, cluster.version)
                };
                if !text.is_empty() {
                    return Some((Ok::<_, std::io::Error>(Bytes::from(text)), (shared, news, version)));
                }
                if news.changed().await.is_err() {
                    return None;
                }
            }
        }
    }))
}
