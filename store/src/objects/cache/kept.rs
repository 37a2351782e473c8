//! Which pieces lie in the folder, how much room they take, and which of them was not asked for the longest.

use std::collections::{BTreeMap, HashMap, HashSet};

use object_store::ObjectMeta;

use super::files::Name;

/// A piece whose file is there.
#[derive(Debug)]
struct Piece {
    room: u64,
    used: u64,
    /// Whether it may still be given to readers; its file may be there a while longer.
    is_good: bool,
}

#[derive(Debug, Default)]
struct Object {
    /// What the store said of the object since this process began.
    meta: Option<ObjectMeta>,
    pieces: BTreeMap<u32, Piece>,
}

/// The pieces. A piece is here as long as its file may be.
#[derive(Debug, Default)]
pub(super) struct Kept {
    objects: HashMap<u128, Object>,
    /// The newest use of each piece.
    by_use: BTreeMap<u64, Name>,
    uses: u64,
    room: u64,
}

impl Kept {
    /// The room that all take.
    pub(super) fn room(&self) -> u64 {
        self.room
    }

    fn piece(&mut self, name: Name) -> Option<&mut Piece> {
        self.objects.get_mut(&name.object)?.pieces.get_mut(&name.piece)
    }

    /// Whether a piece may be read; it is then the one that was used last.
    pub(super) fn touch(&mut self, name: Name) -> bool {
        let is_good = self.piece(name).is_some_and(|piece| piece.is_good);
        if is_good {
            self.renew(name);
        }
        is_good
    }

    fn renew(&mut self, name: Name) {
        self.uses += 1;
        let used = self.uses;
        if let Some(piece) = self.piece(name) {
            let before = std::mem::replace(&mut piece.used, used);
            self.by_use.remove(&before);
            self.by_use.insert(used, name);
        }
    }

    /// Adds a piece whose file was written.
    pub(super) fn insert(&mut self, name: Name, room: u64) {
        self.remove(name);
        self.uses += 1;
        let piece = Piece { room, used: self.uses, is_good: true };
        self.by_use.insert(self.uses, name);
        self.room += room;
        self.objects.entry(name.object).or_default().pieces.insert(name.piece, piece);
    }

    /// Says that a piece is not read any more; its file is to be removed.
    pub(super) fn condemn(&mut self, name: Name) {
        // Used last, so that a file that cannot be removed does not stand before all others.
        self.renew(name);
        if let Some(piece) = self.piece(name) {
            piece.is_good = false;
        }
    }

    /// Takes away a piece whose file is gone.
    pub(super) fn remove(&mut self, name: Name) {
        let Some(object) = self.objects.get_mut(&name.object) else { return };
        if let Some(piece) = object.pieces.remove(&name.piece) {
            self.by_use.remove(&piece.used);
            self.room = self.room.saturating_sub(piece.room);
        }
        if object.pieces.is_empty() {
            self.objects.remove(&name.object);
        }
    }

    /// The piece that was not asked for the longest.
    pub(super) fn oldest(&self) -> Option<Name> {
        self.by_use.first_key_value().map(|(_, name)| *name)
    }

    /// Condemns all pieces of an object, and gives their names.
    pub(super) fn condemn_object(&mut self, object: u128) -> Vec<Name> {
        let Some(of) = self.objects.get_mut(&object) else { return Vec::new() };
        of.meta = None;
        let names: Vec<Name> = of.pieces.keys().map(|piece| Name { object, piece: *piece }).collect();
        names.iter().for_each(|name| self.condemn(*name));
        names
    }

    /// Condemns all pieces of all objects but these, and gives their names.
    pub(super) fn condemn_others(&mut self, kept: &HashSet<u128>) -> Vec<Name> {
        let others: Vec<u128> =
            self.objects.keys().filter(|object| !kept.contains(object)).copied().collect();
        others.into_iter().flat_map(|object| self.condemn_object(object)).collect()
    }

    /// What the store said of an object.
    pub(super) fn meta(&self, object: u128) -> Option<ObjectMeta> {
        self.objects.get(&object)?.meta.clone()
    }

    /// Notes what the store says of an object, if any of it is here.
    pub(super) fn set_meta(&mut self, object: u128, meta: ObjectMeta) {
        if let Some(object) = self.objects.get_mut(&object) {
            object.meta = Some(meta);
        }
    }
}
