//! Proofs of RFC 9162 about the tree: that a record is in it, and that a tree is the beginning of
//! another.

use super::tree::{leaf, node};
use crate::audit::scalar::{Hash, sha256};

/// The hash of a record, without its line break, as a leaf of the tree.
#[must_use]
pub fn leaf_hash(record: &[u8]) -> [u8; 32] {
    leaf(record)
}

/// The root of the tree over these leaves (RFC 9162, 2.1.1).
#[must_use]
pub fn root_of(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [] => sha256(&[]),
        [one] => *one,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node(&root_of(left), &root_of(right))
        }
    }
}

/// The proof that the leaf with this index, from 0, is in the tree (RFC 9162, 2.1.3.1); `None` if it
/// is not there.
#[must_use]
pub fn inclusion_proof(leaves: &[[u8; 32]], index: usize) -> Option<Vec<[u8; 32]>> {
    if index >= leaves.len() {
        return None;
    }
    let mut proof = Vec::new();
    let (mut leaves, mut index) = (leaves, index);
    while leaves.len() > 1 {
        let (left, right) = leaves.split_at(split(leaves.len()));
        if index < left.len() {
            proof.push(root_of(right));
            leaves = left;
        } else {
            proof.push(root_of(left));
            index -= left.len();
            leaves = right;
        }
    }
    proof.reverse();
    Some(proof)
}

/// Whether the proof shows that the leaf with this index is in the tree of this size and root (RFC
/// 9162, 2.1.3.2).
#[must_use]
pub fn verify_inclusion(
    leaf: &[u8; 32],
    index: u64,
    size: u64,
    proof: &[[u8; 32]],
    root: &[u8; 32],
) -> bool {
    if index >= size {
        return false;
    }
    let (mut of_node, mut of_last, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if of_last == 0 {
            return false;
        }
        if of_node & 1 == 1 || of_node == of_last {
            hash = node(sibling, &hash);
            while of_node & 1 == 0 && of_node != 0 {
                of_node >>= 1;
                of_last >>= 1;
            }
        } else {
            hash = node(&hash, sibling);
        }
        of_node >>= 1;
        of_last >>= 1;
    }
    of_last == 0 && hash == *root
}

/// The proof that the tree over the first `size` leaves is the beginning of the tree over all (RFC
/// 9162, 2.1.4.1); `None` if there are not so many. It is empty for none and for all.
#[must_use]
pub fn consistency_proof(leaves: &[[u8; 32]], size: usize) -> Option<Vec<[u8; 32]>> {
    if size > leaves.len() {
        return None;
    }
    let mut proof = Vec::new();
    if size == 0 || size == leaves.len() {
        return Some(proof);
    }
    let (mut leaves, mut size, mut is_whole) = (leaves, size, true);
    while size != leaves.len() {
        let (left, right) = leaves.split_at(split(leaves.len()));
        if size <= left.len() {
            proof.push(root_of(right));
            leaves = left;
        } else {
            proof.push(root_of(left));
            size -= left.len();
            leaves = right;
            is_whole = false;
        }
    }
    if !is_whole {
        proof.push(root_of(leaves));
    }
    proof.reverse();
    Some(proof)
}

/// Whether the proof shows that the tree of the old size and root is the beginning of the new one (RFC
/// 9162, 2.1.4.2).
#[must_use]
pub fn verify_consistency(
    old_size: u64,
    old_root: &[u8; 32],
    size: u64,
    root: &[u8; 32],
    proof: &[[u8; 32]],
) -> bool {
    if old_size > size {
        return false;
    }
    if old_size == size {
        return proof.is_empty() && old_root == root;
    }
    if old_size == 0 {
        return proof.is_empty() && *old_root == root_of(&[]);
    }
    let mut siblings = proof.iter();
    // The old tree is a perfect one, so its root is where the path begins.
    let first = match old_size.is_power_of_two() {
        true => Some(old_root),
        false => siblings.next(),
    };
    let Some(first) = first else { return false };
    let (mut of_node, mut of_last) = (old_size - 1, size - 1);
    while of_node & 1 == 1 {
        of_node >>= 1;
        of_last >>= 1;
    }
    let (mut old, mut new): (Hash, Hash) = (*first, *first);
    for sibling in siblings {
        if of_last == 0 {
            return false;
        }
        if of_node & 1 == 1 || of_node == of_last {
            old = node(sibling, &old);
            new = node(sibling, &new);
            while of_node & 1 == 0 && of_node != 0 {
                of_node >>= 1;
                of_last >>= 1;
            }
        } else {
            new = node(&new, sibling);
        }
        of_node >>= 1;
        of_last >>= 1;
    }
    of_last == 0 && old == *old_root && new == *root
}

/// The largest power of two below this number, which is 2 or more.
fn split(count: usize) -> usize {
    1 << (count - 1).ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::proof::Frontier;
    use crate::audit::scalar::hex_of;

    const LEAVES: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];

    #[test]
    fn a16_roots_of_rfc_6962() {
        let roots = [
            (
                0,
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            ),
            (
                1,
                "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            ),
            (
                2,
                "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            ),
            (
                3,
                "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            ),
            (
                4,
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ),
            (
                7,
                "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            ),
            (
                8,
                "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
            ),
        ];
        for (size, root) in roots {
            let mut tree = Frontier::default();
            for leaf in LEAVES.iter().take(size) {
                tree.push(leaf);
            }
            assert_eq!(hex_of(&tree.root()), root, "{size}");
            let hashes: Vec<_> = LEAVES
                .iter()
                .take(size)
                .map(|leaf| leaf_hash(leaf))
                .collect();
            assert_eq!(hex_of(&root_of(&hashes)), root, "{size}");
            let peaks = tree.peaks().to_vec();
            assert_eq!(Frontier::from_parts(tree.size(), peaks), Some(tree));
        }
        assert_eq!(Frontier::from_parts(3, vec![[0; 32]]), None);
    }

    #[test]
    fn a03_proofs_of_every_small_tree_hold_and_no_other_does() {
        let leaves: Vec<_> = (0..70_u8).map(|n| leaf_hash(&[n])).collect();
        for size in 1..=leaves.len() {
            let tree = &leaves[..size];
            let (root, size64) = (root_of(tree), size as u64);
            for index in 0..size {
                let proof = inclusion_proof(tree, index).unwrap();
                let holds = |index, leaf, root, proof: &[Hash]| {
                    verify_inclusion(leaf, index, size64, proof, root)
                };
                let index64 = index as u64;
                assert!(
                    holds(index64, &tree[index], &root, &proof),
                    "{index} of {size}"
                );
                assert!(!holds(index64, &[7; 32], &root, &proof));
                assert!(!holds(index64, &tree[index], &[7; 32], &proof));
                assert!(!holds(index64 + 1, &tree[index], &root, &proof));
                let longer = [proof.as_slice(), &[[7; 32]]].concat();
                assert!(!holds(index64, &tree[index], &root, &longer));
                if let Some((_, shorter)) = proof.split_last() {
                    assert!(!holds(index64, &tree[index], &root, shorter));
                }
            }
            assert_eq!(inclusion_proof(tree, size), None);
            for old in 0..=size {
                let proof = consistency_proof(tree, old).unwrap();
                let (old_root, old64) = (root_of(&tree[..old]), old as u64);
                assert!(
                    verify_consistency(old64, &old_root, size64, &root, &proof),
                    "{old} to {size}"
                );
                assert!(!verify_consistency(old64, &[7; 32], size64, &root, &proof));
                if old > 0 {
                    assert!(!verify_consistency(
                        old64, &old_root, size64, &[7; 32], &proof
                    ));
                }
                let longer = [proof.as_slice(), &[[7; 32]]].concat();
                assert!(!verify_consistency(
                    old64, &old_root, size64, &root, &longer
                ));
                if let Some((_, shorter)) = proof.split_last() {
                    assert!(!verify_consistency(
                        old64, &old_root, size64, &root, shorter
                    ));
                }
            }
            assert_eq!(consistency_proof(tree, size + 1), None);
        }
    }
}
