//! Which batch of a producer comes next: the rule that makes sending again harmless. Pure.

use heliograph_model::batch::BatchId;

/// A producer's place: its epoch and the last sequence in it.
pub(super) type Place = (u64, u64);

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the next.
    Next,
    /// It is there already.
    Repeat,
    /// It is not the next: this would be.
    Gap {
        /// The sequence that would be accepted.
        expected: u64,
        /// In which epoch.
        epoch: u64,
    },
}

/// Judges a batch by its producer's place, if the producer is known.
pub(super) fn judge(place: Option<Place>, id: &BatchId) -> Verdict {
    match place {
        // What an earlier life sent is not known any more, so the place of the later one says nothing about it:
        // it can only begin anew, above both.
        Some((epoch, _)) if id.epoch < epoch => Verdict::Gap { expected: 1, epoch: epoch.saturating_add(1) },
        Some((epoch, last)) if id.epoch == epoch => {
            if id.sequence <= last {
                Verdict::Repeat
            } else if id.sequence - last == 1 {
                Verdict::Next
            } else {
                Verdict::Gap { expected: last.saturating_add(1), epoch }
            }
        }
        _ if id.sequence == 1 => Verdict::Next,
        _ => Verdict::Gap { expected: 1, epoch: id.epoch },
    }
}

#[cfg(test)]
mod tests {
    use heliograph_model::batch::ProducerId;
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(place: Option<Place>, epoch: u64, sequence: u64, expected: Verdict) {
        let id = BatchId { producer: ProducerId::parse("p").unwrap(), epoch, sequence };
        assert_eq!(judge(place, &id), expected, "{place:?} {id:?}");
    }

    #[test]
    fn the_next_is_taken_the_last_repeated_and_a_later_one_refused() {
        check(Some((3, 7)), 3, 8, Verdict::Next);
        check(Some((3, 7)), 3, 7, Verdict::Repeat);
        check(Some((3, 7)), 3, 1, Verdict::Repeat);
        check(Some((3, 7)), 3, 9, Verdict::Gap { expected: 8, epoch: 3 });
    }

    #[test]
    fn a_new_life_begins_at_one() {
        check(None, 0, 1, Verdict::Next);
        check(None, 5, 2, Verdict::Gap { expected: 1, epoch: 5 });
        check(Some((3, 7)), 4, 1, Verdict::Next);
        check(Some((3, 7)), 4, 2, Verdict::Gap { expected: 1, epoch: 4 });
        check(Some((3, 7)), 2, 1, Verdict::Gap { expected: 1, epoch: 4 });
    }

    proptest! {
        /// Whatever is lost, repeated or overtaken on the way: what is stored is each batch once, in order.
        #[test]
        fn any_delivery_stores_a_prefix_once(deliveries in proptest::collection::vec(1_u64..12, 0..100)) {
            let (mut place, mut stored) = (None, Vec::new());
            for sequence in deliveries {
                let id = BatchId { producer: ProducerId::parse("p").unwrap(), epoch: 1, sequence };
                match judge(place, &id) {
                    Verdict::Next => {
                        stored.push(sequence);
                        place = Some((1, sequence));
                    }
                    Verdict::Repeat => prop_assert!(stored.contains(&sequence)),
                    Verdict::Gap { expected, .. } => prop_assert_eq!(expected, stored.len() as u64 + 1),
                }
            }
            prop_assert_eq!(&stored, &(1..=stored.len() as u64).collect::<Vec<_>>());
        }
    }
}
