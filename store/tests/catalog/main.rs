//! Histories that every catalog must live through, whatever database it stands on.
//!
//! An engine joins by a [`Place`] of its own and one `histories!` line.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "what a test calls may end it"
)]

mod accounts;
mod audit;
mod commits;
mod crowd;
mod erasures;
mod hostile;
mod indexers;
mod keys;
mod limits;
mod model;
mod people;
#[expect(dead_code, reason = "the tests of a cluster need more of it")]
#[path = "../support/postgres.rs"]
mod postgres_server;
mod random;
mod retention;
mod segments;
mod server;
mod shredding;
mod sql;
mod upkeep;
mod words;

use std::sync::Arc;

use async_trait::async_trait;
use heliograph_store::catalog::{self, Catalog};
use sqlx::Connection as _;

/// Where one catalog lies; opened again, it is the same catalog through another handle.
#[async_trait]
pub(crate) trait Place: Send + Sync {
    async fn open(&self) -> Arc<dyn Catalog>;
    /// Does to the database what only somebody else would do.
    async fn tamper(&self, sql: &'static str);
}

struct SqliteFile(tempfile::TempDir);

#[async_trait]
impl Place for SqliteFile {
    async fn open(&self) -> Arc<dyn Catalog> {
        let url = format!("sqlite:{}/catalog.db", self.0.path().display());
        catalog::open(&url.into(), None).await.unwrap()
    }

    async fn tamper(&self, sql: &'static str) {
        let url = format!("sqlite:{}/catalog.db", self.0.path().display());
        let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

/// A database on the server of this test program.
struct Database(String);

impl Database {
    async fn new() -> Self {
        Self(postgres_server::shared().new_database(None).await)
    }
}

#[async_trait]
impl Place for Database {
    async fn open(&self) -> Arc<dyn Catalog> {
        catalog::open(&self.0.as_str().into(), None).await.unwrap()
    }

    async fn tamper(&self, sql: &'static str) {
        let mut connection = sqlx::PgConnection::connect(&self.0).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

macro_rules! histories {
    ($engine:ident, $place:expr) => {
        histories!($engine, $place;
            people::tenants_have_one_name_each, people::users_and_passwords, people::grants_add_up,
            people::sessions_end, people::tokens_are_listed_and_revoked,
            accounts::an_identity_has_one_account, accounts::what_groups_give_they_take,
            accounts::who_is_locked_out_has_no_session, accounts::sessions_end_unused,
            accounts::invitations_are_used_once, accounts::a_value_is_spent_once,
            commits::an_indexer_has_one_id, commits::sequences_rise_one_by_one,
            commits::a_new_epoch_begins_at_one, commits::two_batches_of_a_producer_in_one_commit,
            commits::a_refused_batch_leaves_no_trace, commits::unnumbered_batches_are_always_taken,
            commits::a_commit_of_an_unknown_tenant_is_refused, commits::recording_again_is_harmless,
            commits::ordinals_rise_and_are_not_given_twice, commits::numbers_beyond_the_engine_are_refused,
            commits::two_handles_at_once, commits::racing_for_one_sequence, commits::random_histories,
            segments::publishing_is_all_or_nothing, segments::publishing_again_is_harmless,
            segments::nothing_is_sealed_twice, segments::segments_of_a_range_newest_first,
            segments::segments_of_several_tenants, segments::everything_lasts,
            indexers::indexers_are_found_by_those_who_share_the_catalog,
            indexers::a_lease_that_has_run_out_is_claimed_once,
            indexers::who_was_taken_over_writes_nothing_any_more,
            indexers::an_indexer_lets_go_only_of_its_own, indexers::of_many_claimers_one_gets_it,
            indexers::commits_and_claims_at_once,
            limits::limits_are_set_and_taken_back, limits::usage_is_what_is_in_segments,
            crowd::many_indexers_with_the_same_batches, crowd::an_indexers_commits_are_seen_in_order,
            upkeep::a_merged_segment_takes_the_place_of_its_inputs, upkeep::a_merge_is_all_or_nothing,
            upkeep::two_merges_of_one_segment, upkeep::what_is_retired_is_not_searched,
            upkeep::what_is_given_up_is_never_published, upkeep::giving_up_races_with_publishing,
            upkeep::usage_is_of_what_is_searched,
            erasures::a_request_says_what_it_waits_for, erasures::a_rewritten_segment_takes_the_old_ones_place,
            erasures::a_rewrite_is_all_or_nothing, erasures::rewrites_and_merges_race,
            erasures::requests_and_commits_at_once,
            keys::new_tenants_are_of_the_key_that_is_set,
            keys::a_key_is_wrapped_anew_if_it_is_still_the_one_that_was_read,
            keys::no_tenant_is_of_the_old_key_once_another_is_set,
            shredding::an_erased_tenant_is_no_more, shredding::a_new_tenant_of_that_name_is_another,
            shredding::no_commit_comes_after_the_key_has_gone,
            shredding::segments_are_published_before_or_not_at_all,
            retention::a_tenants_own_bounds, retention::the_clock_of_retention_does_not_go_back,
            hostile::any_text_is_a_value_and_nothing_else,
            audit::many_at_once_make_one_chain, audit::rows_are_read_by_tenant_and_time_in_pages,
            audit::what_is_changed_is_found, audit::what_is_cut_off_is_found,
            audit::a_head_without_the_key_is_found_for_ever, audit::old_rows_are_dropped_and_the_rest_stays_whole,
            audit::another_master_key_takes_over,
            audit::questions_are_sealed_and_go_with_the_tenants_key, audit::rows_of_a_backup_go_into_an_empty_log,
        );
    };
    ($engine:ident, $place:expr; $($module:ident :: $history:ident),* $(,)?) => {
        mod $engine {
            use super::*;
            $(
                #[tokio::test]
                async fn $history() {
                    super::$module::$history(&$place).await;
                }
            )*
        }
    };
}

histories!(sqlite, SqliteFile(tempfile::tempdir().unwrap()));
histories!(postgres, Database::new().await);
