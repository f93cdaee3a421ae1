//! Properties that hold for arbitrary options and arbitrary bytes.

use std::net::IpAddr;

use bolero::TypeGenerator;

use super::tests::forms;
use super::*;
use crate::keys::{Key, Token};
use crate::testing::check;

#[derive(Clone, Debug, TypeGenerator)]
enum Form {
    CapableSyn(Head),
    CapableSynAck(Head, u64),
    CapableAck(Head, u64, u64),
    CapableData(Head, u64, u64, u16, Option<u16>),
    JoinSyn(bool, u8, u32, u32),
    JoinSynAck(bool, u8, [u8; 8], u32),
    JoinAck([u8; 20]),
    Dss(Option<Seq>, Option<(Seq, u32, u16, Option<u16>)>, bool),
    Announce(u8, IpAddr, Option<u16>, [u8; 8]),
    Echo(u8, IpAddr, Option<u16>),
    Remove(u8, Vec<u8>),
    Prio(bool),
    Fail(u64),
    Fastclose(u64),
    Tcprst(bool, u8),
}

/// Version and flags of a MP_CAPABLE.
#[derive(Clone, Copy, Debug, TypeGenerator)]
struct Head {
    #[generator(0..=15)]
    version: u8,
    checksum: bool,
    extensibility: bool,
    deny_join_initial: bool,
    #[generator(0..=31)]
    crypto: u8,
}

#[derive(Clone, Copy, Debug, TypeGenerator)]
enum Seq {
    Short(u32),
    Long(u64),
}

impl Head {
    fn flags(self) -> CapableFlags {
        let Self { checksum, extensibility, deny_join_initial, crypto, .. } = self;
        CapableFlags { checksum, extensibility, deny_join_initial, crypto }
    }
}

impl Seq {
    fn on_wire(self) -> WireSeq {
        match self {
            Self::Short(low) => WireSeq::Short(low),
            Self::Long(dsn) => WireSeq::Long(dsn),
        }
    }
}

impl Form {
    fn option(&self) -> MptcpOption {
        match self.clone() {
            Self::CapableSyn(head) => {
                MptcpOption::Capable(MpCapable::Syn { version: head.version, flags: head.flags() })
            }
            Self::CapableSynAck(head, key) => {
                MptcpOption::Capable(MpCapable::SynAck { version: head.version, flags: head.flags(), key: Key(key) })
            }
            Self::CapableAck(head, sender, receiver) => MptcpOption::Capable(MpCapable::Ack {
                version: head.version,
                flags: head.flags(),
                sender_key: Key(sender),
                receiver_key: Key(receiver),
            }),
            Self::CapableData(head, sender, receiver, data_len, checksum) => MptcpOption::Capable(MpCapable::AckData {
                version: head.version,
                flags: head.flags(),
                sender_key: Key(sender),
                receiver_key: Key(receiver),
                data_len,
                checksum,
            }),
            Self::JoinSyn(backup, id, token, nonce) => {
                MptcpOption::Join(MpJoin::Syn { backup, addr_id: AddrId(id), token: Token(token), nonce })
            }
            Self::JoinSynAck(backup, id, hmac, nonce) => {
                MptcpOption::Join(MpJoin::SynAck { backup, addr_id: AddrId(id), hmac, nonce })
            }
            Self::JoinAck(hmac) => MptcpOption::Join(MpJoin::Ack { hmac }),
            Self::Dss(data_ack, mapping, data_fin) => MptcpOption::Dss(Dss {
                data_ack: data_ack.map(Seq::on_wire),
                mapping: mapping.map(|(dsn, ssn, len, checksum)| DssMapping { dsn: dsn.on_wire(), ssn, len, checksum }),
                data_fin,
            }),
            Self::Announce(id, addr, port, hmac) => {
                let kind = AddAddrKind::Announce { hmac };
                MptcpOption::AddAddr(AddAddr { addr_id: AddrId(id), addr, port, kind })
            }
            Self::Echo(id, addr, port) => {
                MptcpOption::AddAddr(AddAddr { addr_id: AddrId(id), addr, port, kind: AddAddrKind::Echo })
            }
            Self::Remove(first, more) => {
                let ids = std::iter::once(first).chain(more).map(AddrId).take(room::MAX_REMOVED);
                MptcpOption::RemoveAddr(RemoveAddr::new(&ids.collect::<Vec<_>>()).unwrap())
            }
            Self::Prio(backup) => MptcpOption::Prio(MpPrio { backup }),
            Self::Fail(dsn) => MptcpOption::Fail(MpFail { dsn }),
            Self::Fastclose(key) => MptcpOption::Fastclose(MpFastclose { receiver_key: Key(key) }),
            Self::Tcprst(transient, code) => {
                MptcpOption::Tcprst(MpTcprst { transient, reason: ResetReason::from_code(code) })
            }
        }
    }
}

fn emitted(option: &MptcpOption) -> Vec<u8> {
    let mut out = OptionSpace::new(OptionSpace::MAX);
    assert!(option.emit(&mut out), "{option:?} does not fit a header");
    out.as_slice().to_vec()
}

#[test]
fn what_is_written_is_read_back() {
    check(20_000, |form: &Form| {
        let option = form.option();
        let bytes = emitted(&option);
        assert_eq!(bytes.len(), option.len());
        assert_eq!(MptcpOption::parse(&bytes), Ok(option));
    });
}

#[test]
fn options_side_by_side_are_read_in_order() {
    check(5_000, |forms: &Vec<Form>| {
        let mut out = OptionSpace::new(OptionSpace::MAX);
        let fitting: Vec<_> = forms.iter().map(Form::option).filter(|option| option.emit(&mut out)).collect();
        assert_eq!(options(out.as_slice()).collect::<Result<Vec<_>, _>>().unwrap(), fitting);
    });
}

/// Whatever can be read says the same when it is written again, save for what must be ignored.
fn rereads_the_same(option: &[u8]) -> bool {
    let Ok(read) = MptcpOption::parse(option) else { return false };
    let bytes = emitted(&read);
    assert_eq!(bytes.len(), option.len());
    assert_eq!(MptcpOption::parse(&bytes), Ok(read));
    true
}

#[test]
fn arbitrary_bytes_are_refused_or_mean_something() {
    check(20_000, |bytes: &Vec<u8>| {
        rereads_the_same(bytes);
        assert!(options(bytes).count() <= bytes.len(), "every item takes a byte at least");
    });
}

#[test]
fn arbitrary_fields_of_every_subtype_and_length_are_refused_or_mean_something() {
    let understood = std::cell::Cell::new(0);
    check(20_000, |(subtype, length, fill): &(u8, u8, [u8; 41])| {
        let mut bytes = fill[..3 + usize::from(length % 39)].to_vec();
        bytes[0] = KIND;
        bytes[1] = u8::try_from(bytes.len()).unwrap();
        bytes[2] = (subtype % 10) << 4 | bytes[2] & 0x0f;
        understood.set(understood.get() + u32::from(rereads_the_same(&bytes)));
    });
    assert!(understood.get() > 1_000, "only {} inputs got past the checks", understood.get());
}

#[test]
fn damage_to_valid_options_is_refused_or_means_something() {
    let forms = forms();
    check(20_000, |(form, at, octet): &(u16, u8, u8)| {
        let (mut bytes, _) = forms[usize::from(*form) % forms.len()].clone();
        let at = usize::from(*at) % bytes.len();
        bytes[at] = *octet;
        rereads_the_same(&bytes);
    });
}

#[test]
fn a_truncated_area_is_never_read_past_its_last_whole_option() {
    check(5_000, |(forms, cut): &(Vec<Form>, u8)| {
        let mut out = OptionSpace::new(OptionSpace::MAX);
        let fitting: Vec<_> = forms.iter().map(Form::option).filter(|option| option.emit(&mut out)).collect();
        let area = &out.as_slice()[..usize::from(*cut) % (out.as_slice().len() + 1)];
        let mut end = 0;
        let whole = fitting.iter().take_while(|option| {
            end += option.len();
            end <= area.len()
        });
        assert!(whole.copied().map(Ok).eq(options(area).filter(Result::is_ok)));
    });
}

#[test]
fn views_and_values_say_the_same() {
    check(5_000, |form: &Form| {
        let option = form.option();
        let bytes = emitted(&option);
        let view = OptionView::parse(&bytes).unwrap();
        assert_eq!(view.subtype(), option.subtype());
        match option {
            MptcpOption::Dss(dss) => assert_eq!(view.dss().map(Dss::from), Some(dss)),
            _ => assert_eq!(view.dss(), None),
        }
    });
}
