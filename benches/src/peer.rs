//! What ours is held against: which peers there are, and the way from a peer's name to its server.

use std::path::Path;

use clap::ValueEnum;

use crate::ask::{self, Asked};
use crate::corpus::{Corpus, Form};
use crate::load::{self, Ingested};
use crate::system::{OpenSearch, Setup, System, VictoriaLogs};

/// A peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    #[value(name = "victorialogs")]
    VictoriaLogs,
    #[value(name = "opensearch")]
    OpenSearch,
}

impl Peer {
    /// Its name in tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::VictoriaLogs => VictoriaLogs::NAME,
            Self::OpenSearch => OpenSearch::NAME,
        }
    }

    /// The same where there is little room.
    pub(crate) const fn short(self) -> &'static str {
        match self {
            Self::VictoriaLogs => VictoriaLogs::SHORT,
            Self::OpenSearch => OpenSearch::SHORT,
        }
    }

    /// Its program, with its data in `folder`.
    pub(crate) fn setup(self, programs: &crate::Programs, folder: &Path) -> Setup {
        let (program, data) = match self {
            Self::VictoriaLogs => (&programs.victoria_logs, "victorialogs"),
            Self::OpenSearch => (&programs.opensearch, "opensearch"),
        };
        Setup { program: program.clone(), data: folder.join(data) }
    }

    /// See [`load::ingest`]; peers always get `_bulk`.
    pub(crate) async fn ingest(self, setup: &Setup, corpus: &Corpus) -> anyhow::Result<Ingested> {
        match self {
            Self::VictoriaLogs => load::ingest::<VictoriaLogs>(setup, corpus, Form::Bulk).await,
            Self::OpenSearch => load::ingest::<OpenSearch>(setup, corpus, Form::Bulk).await,
        }
    }

    /// See [`ask::all`].
    pub(crate) async fn ask(
        self,
        setup: &Setup,
        corpus: &Corpus,
        options: ask::Options,
    ) -> anyhow::Result<Asked> {
        match self {
            Self::VictoriaLogs => ask::all::<VictoriaLogs>(setup, &corpus.truth, options).await,
            Self::OpenSearch => ask::all::<OpenSearch>(setup, &corpus.truth, options).await,
        }
    }
}
