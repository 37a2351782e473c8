//! Records spread over tenants, segments and hot parts at random: answers are those of sorting everything.

use heliograph_model::tenant::Workspace;
use http::StatusCode;
use proptest::prelude::*;
use serde_json::Value;

use crate::stage::{Stage, messages, record, tenant};

/// Some records of one tenant in one commit, and whether all it has is sealed then.
type Step = (usize, Vec<(i64, u128, u64)>, bool);

const TENANTS: [&str; 3] = ["a", "b", "c"];

/// Sealed and hot parts with few distinct times, so that many records are equal in time, and some in key.
async fn spread(steps: &[Step]) -> (Stage, String) {
    let stage = Stage::new().await;
    stage.store.tenants.create(&tenant("c"), &Workspace::parse("w").unwrap()).await.unwrap();
    for (of, keys, is_sealed) in steps {
        let name = tenant(TENANTS[*of]);
        let one = |(time, source, position): &(i64, u128, u64)| {
            record(*source, *position, *time, &format!("{name} {time} {source} {position}"))
        };
        stage.indexer.commit(&name, &keys.iter().map(one).collect::<Vec<_>>()).await;
        if *is_sealed {
            stage.indexer.seal(&name).await;
        }
    }
    let cookie = crate::access::tests::sign_in(&stage, "bob").await;
    (stage, cookie)
}

/// What sorting everything gives: by key, equal keys by tenant, and each record once.
fn sorted(steps: &[Step], is_desc: bool, errors_only: bool) -> Vec<String> {
    let keys = steps.iter().flat_map(|(of, keys, _)| keys.iter().map(|key| (*key, TENANTS[*of])));
    let mut all: Vec<_> = keys.filter(|((.., position), _)| !errors_only || position % 2 == 1).collect();
    all.sort_by(|(k1, t1), (k2, t2)| {
        let keys = if is_desc { k2.cmp(k1) } else { k1.cmp(k2) };
        keys.then_with(|| t1.cmp(t2))
    });
    all.dedup();
    all.iter().map(|((time, source, position), of)| format!("{of} {time} {source} {position}")).collect()
}

async fn all_pages(stage: &Stage, cookie: &str, query: &str) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let url = format!("{}/api/v1/search?{query}&cursor={cursor}", stage.url);
        let response = stage.client.get(url).header("cookie", cookie).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["complete"], true);
        all.extend(messages(&body));
        match body["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => return all,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn answers_are_those_of_sorting_everything(
        steps in proptest::collection::vec(
            (0_usize..3, proptest::collection::vec((0_i64..20, 0_u128..3, 0_u64..40), 1..30), any::<bool>()), 1..14,
        ),
        limit in 1_usize..40,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build().unwrap();
        runtime.block_on(async {
            let (stage, cookie) = spread(&steps).await;
            for (order, is_desc) in [("desc", true), ("asc", false)] {
                for (filter, errors_only) in [("", false), ("level:error", true)] {
                    let query = format!("order={order}&limit={limit}&q={filter}");
                    let expected = sorted(&steps, is_desc, errors_only);
                    assert_eq!(all_pages(&stage, &cookie, &query).await, expected, "{query}");
                }
            }
        });
    }
}
