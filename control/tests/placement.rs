//! Placements by hash are fixed for ever: a change here splits a fleet that runs two builds.

use roadstead_control::{HASH_VERSION, channel_hash, hub_shard};

/// Version of the hash these values belong to. New values need a new version, and a way for both to live in a
/// fleet.
const TABLE_VERSION: u16 = 1;

/// (channel, hash, hub of 2 shards, hub of 64 shards)
const TABLE: &[(&str, u64, u16, u16)] = &[
    ("", 0x5677_1eac_3267_1c68, 0, 40),
    ("a", 0xc736_c5af_b67b_86a6, 0, 38),
    ("news", 0x3b7d_6f3c_2d69_be31, 1, 49),
    ("#42", 0xbd05_232f_60f3_4c1f, 1, 31),
    ("chat:room-1", 0x5839_fae1_908e_251b, 1, 27),
    ("a channel with a name of more than forty-eight bytes, as some are", 0xe156_d3a7_c0ce_ec17, 1, 23),
    ("kanäle/über", 0x070a_3972_da0e_636e, 0, 46),
];

#[test]
fn hash_and_hub_never_change() {
    assert_eq!(HASH_VERSION, TABLE_VERSION);
    for &(channel, hash, of_2, of_64) in TABLE {
        let bytes = channel.as_bytes();
        assert_eq!(channel_hash(bytes), hash, "{channel}");
        assert_eq!(hub_shard(bytes, 1), 0, "{channel}");
        assert_eq!(hub_shard(bytes, 2), of_2, "{channel}");
        assert_eq!(hub_shard(bytes, 64), of_64, "{channel}");
    }
}

#[test]
fn hubs_share_channels_evenly() {
    for shards in [2_u16, 3, 7, 64] {
        let mut counts = vec![0_u32; usize::from(shards)];
        let channels = 2_000 * u32::from(shards);
        for number in 0..channels {
            counts[usize::from(hub_shard(format!("room-{number}").as_bytes(), shards))] += 1;
        }
        for (shard, &count) in counts.iter().enumerate() {
            assert!(
                (1_800..2_200).contains(&count),
                "shard {shard} of {shards} has {count} of 2,000 expected"
            );
        }
    }
}
