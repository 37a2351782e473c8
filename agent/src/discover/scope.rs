//! One input: where its files may lie, and what a path says about whose they are.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use globset::{GlobBuilder, GlobMatcher};
use heliograph_model::airflow::{Identity, dag_file_from_path, task_from_path};
use heliograph_model::source::{Component, Source};
use heliograph_model::tenant::TenantId;
use serde_json::{Map, Value};

use super::links::pods_root;
use super::volumes::{Name, Volumes};
use crate::config::{Config, Input, NamespaceFrom};
use crate::error::{Error, Result};
use crate::frame::Form;
use crate::pods::Pods;
use crate::pods::facts::Pod;
use crate::tail::open::Reach;
use crate::tenancy::Tenancy;

/// Endings of compressed files: what rotation leaves when it is done with a file. Not read.
const COMPRESSED: [&str; 6] = ["gz", "zst", "bz2", "xz", "lz4", "zip"];

/// All that a path says of the records in it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Owner {
    /// Whose they are.
    pub tenant: TenantId,
    /// Where they come from; its id is set by whoever reads.
    pub source: Arc<Source>,
    /// What the lines look like.
    pub form: Form,
    /// How the file may be opened.
    pub reach: Reach,
    /// Which task try.
    pub identity: Identity,
    /// Whether the path knows the task better than a line does.
    pub path_wins: bool,
    /// What else the path says.
    pub attributes: Map<String, Value>,
    /// The pod whose file it is, by the uid in its path.
    pub pod_uid: Option<Box<str>>,
}

/// An input, checked.
#[derive(Debug)]
pub(crate) struct Scope {
    base: Arc<Path>,
    node: Box<str>,
    /// The namespace of a sidecar, whose files do not say it …
    namespace: Option<Box<str>>,
    /// … and its pod.
    pod: Option<Box<str>>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Containers { tenants: Arc<Tenancy> },
    Tasks { namespace: NamespaceFrom, tenants: Arc<Tenancy> },
    PodVolumes { volumes: Volumes, tenants: Arc<Tenancy> },
    Files(Files),
}

#[derive(Debug)]
struct Files {
    whole: GlobMatcher,
    /// What the directories below the base must be called, level by level.
    levels: Vec<GlobMatcher>,
    /// Whether there are matches below these levels.
    any_depth: bool,
    tenant: TenantId,
    component: Option<Component>,
}

impl Scope {
    /// Checks an input. What is wrong is named.
    pub(crate) fn new(input: &Input, config: &Config, tenants: &Arc<Tenancy>) -> Result<Self> {
        let absolute = |path: &Path| {
            std::path::absolute(path).map_err(|e| Error::Config {
                what: "input path",
                value: path.display().to_string(),
                reason: e.to_string(),
            })
        };
        let tenants = Arc::clone(tenants);
        let (base, kind) = match input {
            Input::Containers { root } => (pods_root(absolute(root)?), Kind::Containers { tenants }),
            Input::Tasks { root, namespace } => {
                (absolute(root)?, Kind::Tasks { namespace: namespace.clone(), tenants })
            }
            Input::PodVolumes { root, pods } => {
                let (root, pods) = (absolute(root)?, pods_root(absolute(pods)?));
                (root.clone(), Kind::PodVolumes { volumes: Volumes::new(root, pods), tenants })
            }
            Input::Files { glob, tenant, component } => {
                let path = absolute(Path::new(glob))?;
                Files::new(glob, &path, tenant, component.as_ref()).map(|(b, f)| (b, Kind::Files(f)))?
            }
        };
        let sidecar = config.sidecar.as_ref();
        let namespace = sidecar.and_then(|s| s.namespace.as_deref()).map(Box::from);
        let pod = sidecar.and_then(|s| s.pod.as_deref()).map(Box::from);
        Ok(Self { base: base.into(), node: config.node.as_str().into(), namespace, pod, kind })
    }

    /// Where the kubelet puts the log of an instance of a container, if this input has them.
    pub(crate) fn container_log(&self, pod: &Pod, container: &str, number: u32) -> Option<PathBuf> {
        let Kind::Containers { .. } = &self.kind else { return None };
        let Pod { namespace, name, uid, .. } = pod;
        Some(
            self.base.join(format!("{namespace}_{name}_{uid}")).join(container).join(format!("{number}.log")),
        )
    }

    /// The directory below which all lies.
    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// Whether this input finds the same files as `other`, by whatever path.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let both = matches!((&self.kind, &other.kind), (Kind::Containers { .. }, Kind::Containers { .. }));
        let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        both && real(&self.base) == real(&other.base)
    }

    /// Goes by what is known of these pods where paths do not say all of it.
    pub(crate) fn ask(&mut self, pods: &Arc<Pods>) {
        if let Kind::PodVolumes { volumes, .. } = &mut self.kind {
            volumes.ask(pods);
        }
    }

    /// Looks whose files there are, where paths do not say all of it; says whether there are more than before.
    pub(crate) fn refresh(&mut self, now: SystemTime) -> bool {
        match &mut self.kind {
            Kind::PodVolumes { volumes, .. } => volumes.refresh(now),
            Kind::Containers { .. } | Kind::Tasks { .. } | Kind::Files(_) => false,
        }
    }

    /// Whether links are followed.
    pub(crate) fn follows_links(&self) -> bool {
        match &self.kind {
            Kind::Containers { .. } | Kind::Tasks { .. } | Kind::PodVolumes { .. } => false,
            // Below `**` links could lead in circles.
            Kind::Files(files) => !files.any_depth,
        }
    }

    /// Whether files may lie in or below `dir`, which lies in a directory `depth` levels below the base.
    pub(crate) fn descends(&self, dir: &Path, depth: usize) -> bool {
        match &self.kind {
            Kind::Containers { tenants } => match depth {
                0 => dir
                    .file_name()
                    .and_then(|n| n.to_str())
                    .and_then(pod_of)
                    .is_some_and(|(ns, _, _)| tenants.tenant_of(ns).is_some()),
                _ => depth == 1,
            },
            Kind::Tasks { .. } => true,
            Kind::PodVolumes { volumes, tenants } => {
                let name = || volumes.pod(dir.file_name()?);
                let collected = || name().is_some_and(|name| tenants.tenant_of(&name.namespace).is_some());
                volumes.descends(dir, depth) && (depth > 0 || collected())
            }
            Kind::Files(files) => match (files.levels.get(depth), dir.file_name()) {
                (Some(level), Some(name)) => level.is_match(name),
                _ => files.any_depth,
            },
        }
    }

    /// Whose the records of a path are; none where it is not this input's, or nobody's.
    pub(crate) fn owner(&self, path: &Path) -> Option<Owner> {
        let below = path.strip_prefix(&self.base).ok()?;
        let mut owner = match &self.kind {
            Kind::Containers { tenants } => self.container(below, tenants)?,
            Kind::Tasks { namespace, tenants } => self.task(below, namespace, tenants)?,
            Kind::PodVolumes { volumes, tenants } => {
                let (uid, inside) = Volumes::split(below)?;
                let Name { namespace, pod } = volumes.pod(uid)?;
                let mut owner = self.task(inside, &NamespaceFrom::Fixed(namespace.into()), tenants)?;
                Arc::make_mut(&mut owner.source).pod = Some(pod);
                owner.pod_uid = uid.to_str().map(Box::from);
                owner
            }
            Kind::Files(files) => {
                let compressed = path.extension().is_some_and(|e| COMPRESSED.iter().any(|c| e == *c));
                (files.whole.is_match(path) && !compressed).then(|| Owner {
                    tenant: files.tenant.clone(),
                    source: Arc::new(Source { component: files.component.clone(), ..Source::default() }),
                    form: Form::Plain,
                    reach: Reach::Anywhere,
                    identity: Identity::default(),
                    path_wins: false,
                    attributes: Map::new(),
                    pod_uid: None,
                })?
            }
        };
        let source = Arc::make_mut(&mut owner.source);
        source.namespace = source.namespace.take().or_else(|| self.namespace.clone());
        source.pod = source.pod.take().or_else(|| self.pod.clone());
        source.node = Some(self.node.clone());
        source.path = Some(path.to_string_lossy().into());
        Some(owner)
    }

    /// `<ns>_<pod>_<uid>/<container>/N.log`.
    fn container(&self, below: &Path, tenants: &Tenancy) -> Option<Owner> {
        let mut parts = below.iter().map(|p| p.to_str());
        let (pod, container, name) = (parts.next()??, parts.next()??, parts.next()??);
        let number = name.strip_suffix(".log")?;
        if parts.next().is_some() || number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let (namespace, pod, uid) = pod_of(pod)?;
        Some(Owner {
            tenant: tenants.tenant_of(namespace)?,
            source: Arc::new(Source {
                component: Component::parse(container).ok(),
                namespace: Some(namespace.into()),
                pod: Some(pod.into()),
                container: Some(container.into()),
                ..Source::default()
            }),
            form: Form::Cri,
            reach: Reach::Beneath(Arc::clone(&self.base)),
            identity: Identity::default(),
            path_wins: false,
            attributes: Map::new(),
            pod_uid: Some(uid.into()),
        })
    }

    /// A task's file or one of the DAG processor.
    fn task(&self, below: &Path, namespace: &NamespaceFrom, tenants: &Tenancy) -> Option<Owner> {
        let namespace = match namespace {
            NamespaceFrom::Fixed(namespace) => namespace.as_str(),
            NamespaceFrom::FirstPathElement => below.iter().next()?.to_str()?,
        };
        let mut attributes = Map::new();
        let (component, identity) = if let Some(task) = task_from_path(below) {
            (if task.trigger.is_some() { "triggerer" } else { "worker" }, task.identity)
        } else {
            let file = dag_file_from_path(below)?;
            attributes.insert("dag_file".to_owned(), file.dag_file.into());
            attributes.extend(file.bundle.map(|b| ("bundle".to_owned(), b.into())));
            (file.component, Identity::default())
        };
        Some(Owner {
            tenant: tenants.tenant_of(namespace)?,
            source: Arc::new(Source {
                component: Component::parse(component).ok(),
                namespace: Some(namespace.into()),
                ..Source::default()
            }),
            form: Form::Plain,
            reach: Reach::Beneath(Arc::clone(&self.base)),
            path_wins: identity.dag_id.is_some(),
            identity,
            attributes,
            pod_uid: None,
        })
    }
}

impl Files {
    fn new(
        glob: &str,
        path: &Path,
        tenant: &TenantId,
        component: Option<&Component>,
    ) -> Result<(PathBuf, Self)> {
        let bad = |reason: String| Error::Config { what: "glob", value: glob.to_owned(), reason };
        let text = path.to_str().ok_or_else(|| bad("it is not UTF-8".to_owned()))?;
        let matcher = |pattern: &str| {
            let built = GlobBuilder::new(pattern).literal_separator(true).build();
            built.map(|g| g.compile_matcher()).map_err(|e| bad(e.kind().to_string()))
        };
        let whole = matcher(text)?;
        let is_pattern = |part: &str| part.contains(['*', '?', '[', '{', '\\']);
        let parts: Vec<&str> = text.split('/').filter(|p| !p.is_empty()).collect();
        let Some((_, dirs)) = parts.split_last() else { return Err(bad("it names no file".to_owned())) };
        let fixed = dirs.iter().take_while(|p| !is_pattern(p)).count();
        let base = dirs.iter().take(fixed).fold(PathBuf::from("/"), |base, part| base.join(part));
        let mut levels = vec![];
        let mut any_depth = false;
        // A brace may hold a separator: then the levels are not the parts of the pattern.
        let braces = text.contains('{');
        for part in dirs.iter().skip(fixed) {
            any_depth = part.contains("**") || braces;
            if any_depth {
                break;
            }
            levels.push(matcher(part)?);
        }
        Ok((base, Self { whole, levels, any_depth, tenant: tenant.clone(), component: component.cloned() }))
    }
}

/// Namespace, pod and uid of `<ns>_<pod>_<uid>`.
pub(super) fn pod_of(name: &str) -> Option<(&str, &str, &str)> {
    let (namespace, rest) = name.split_once('_')?;
    let (pod, uid) = rest.rsplit_once('_')?;
    let whole = !namespace.is_empty() && !pod.is_empty() && !uid.is_empty();
    whole.then_some((namespace, pod, uid))
}
