//! Rows of which the log has older versions.

use super::*;

/// Where the frames begin that hold versions of the first row, the oldest first, and the row in each.
fn versions_in_log(built: &Built) -> Vec<(usize, usize)> {
    let log = fs::read(built.log()).unwrap();
    let frames = (32..log.len()).step_by(PAGE + 24).filter(|at| at + PAGE + 24 <= log.len());
    let first_row = |frame: usize| {
        let bytes = &log[frame + 24..frame + 24 + PAGE];
        let tree = page::tree(bytes).filter(|tree| tree.kind == Kind::TableLeaf)?;
        let is_first = |at: &usize| page::chunk_cell(bytes, *at).is_some_and(|(head, _)| head.first == 1);
        tree.cells.into_iter().find(is_first).map(|at| (frame, frame + 24 + at))
    };
    frames.filter_map(first_row).collect()
}

/// One row that grew with each of some commits of two readings, all in the log.
fn grown(commits: u32) -> Built {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir.path().join("q.db"), 1 << 20, WhenFull::DropOldest);
    let mut ever = BTreeMap::new();
    for commit in 0..commits {
        let entries: Entries =
            [2 * commit, 2 * commit + 1].map(|seq| (u64::from(seq) + 1, Arc::new(reading(seq)))).into();
        store.commit(&entries, &save(0, 0), i64::from(commit) * 2000 + 3000, OFFSET).unwrap();
        ever.extend(entries);
    }
    drop(store);
    Built { dir, ever, rows: BTreeMap::new(), state: BTreeMap::new() }.looked_at()
}

/// Harms the newest versions of a row in the log, so many of them.
fn harm_versions(files: &mut Files, versions: &[(usize, usize)], count: usize) {
    let log = files.log.as_mut().unwrap();
    for (_, row) in versions.iter().rev().take(count) {
        // Behind its numbers, so in its content.
        log[row + 80] ^= 0x10;
    }
}

#[test]
fn of_a_row_that_grew_an_older_version_comes_back() {
    let built = grown(20);
    let versions = versions_in_log(&built);
    assert_eq!((built.rows.len(), versions.len()), (1, 20));
    for harmed in 0..6 {
        let got = built.harmed(|f| harm_versions(f, &versions, harmed));
        built.judge(&got);
        assert_eq!(got.positions(), (1..=40 - 2 * harmed as u64).collect::<BTreeSet<_>>(), "{harmed}");
        // At the end of the log it may as well be a commit that a crash cut off.
        assert_eq!((got.counts.missing, got.counts.unreadable), (0, 0), "{harmed}");
    }
}

#[test]
fn what_an_older_version_of_a_row_lacks_is_missing() {
    let built = grown(20).with_large_ones();
    let versions = versions_in_log(&built);
    let again = versions.len() - 20;
    assert_eq!(built.rows.len(), 6);
    assert!(again > 0);
    for harmed in 0..6 {
        let got = built.harmed(|f| harm_versions(f, &versions, harmed));
        built.judge(&got);
        let lacks = 2 * harmed.saturating_sub(again) as u64;
        let expected: BTreeSet<u64> = (1..=40 - lacks).chain(41..=45).collect();
        assert_eq!(got.positions(), expected, "{harmed}");
        assert_eq!((got.counts.missing, got.counts.unreadable), (lacks, 0), "{harmed}");
    }
}

#[test]
fn what_an_older_version_of_the_last_row_lacks_is_missing() {
    let built = grown(20);
    let mut store = open(&built.path(), 1 << 20, WhenFull::DropOldest);
    // So many that what stands before them in the log is believed.
    (1..6).for_each(|next| drop(store.save(&save(0, next), 1_000_000, OFFSET).unwrap()));
    drop(store);
    let versions = versions_in_log(&built);
    for harmed in 0..6 {
        let got = built.harmed(|f| harm_versions(f, &versions, harmed));
        built.judge(&got);
        let lacks = 2 * harmed as u64;
        assert_eq!(got.positions(), (1..=40 - lacks).collect::<BTreeSet<_>>(), "{harmed}");
        assert_eq!((got.counts.missing, got.counts.unreadable), (lacks, 0), "{harmed}");
    }
}

/// The check sum of a frame is wrong, but the row in it is whole.
#[test]
fn a_row_in_a_frame_that_is_damaged_elsewhere_comes_back_whole() {
    let built = grown(20).with_large_ones();
    let versions = versions_in_log(&built);
    // In the frame's head: page, size, a salt, a sum. In the page: its unused room.
    for at in [3, 6, 9, 17, 24 + 100] {
        let got = built.harmed(|f| {
            for (frame, _) in versions.iter().rev().take(2) {
                f.log.as_mut().unwrap()[frame + at] ^= 0x10;
            }
        });
        built.judge(&got);
        assert_eq!(got.positions(), (1..=45).collect::<BTreeSet<_>>(), "{at}");
        assert_eq!((got.counts.missing, got.counts.unreadable), (0, 0), "{at}");
    }
}
