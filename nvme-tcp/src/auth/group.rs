//! The Diffie-Hellman groups of DH-HMAC-CHAP: those of RFC 7919.

use std::sync::OnceLock;

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd, Resize};
use rand::Rng;
use zeroize::Zeroizing;

/// A Diffie-Hellman group, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Group {
    /// No key exchange: who records the messages can try secrets on them for as long as he likes.
    Null = 0,
    /// ffdhe2048.
    Ffdhe2048 = 1,
    /// ffdhe3072.
    Ffdhe3072 = 2,
    /// ffdhe4096.
    Ffdhe4096 = 3,
    /// ffdhe6144.
    Ffdhe6144 = 4,
    /// ffdhe8192.
    Ffdhe8192 = 5,
}

impl Group {
    /// All of them, the smallest first.
    pub const ALL: [Self; 6] =
        [Self::Null, Self::Ffdhe2048, Self::Ffdhe3072, Self::Ffdhe4096, Self::Ffdhe6144, Self::Ffdhe8192];

    /// The group with this identifier.
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            0 => Some(Self::Null),
            1 => Some(Self::Ffdhe2048),
            2 => Some(Self::Ffdhe3072),
            3 => Some(Self::Ffdhe4096),
            4 => Some(Self::Ffdhe6144),
            5 => Some(Self::Ffdhe8192),
            _ => None,
        }
    }

    /// Its identifier in messages.
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// Bits of its prime, 0 if there is none.
    pub const fn bits(self) -> u32 {
        match self {
            Self::Null => 0,
            Self::Ffdhe2048 => 2048,
            Self::Ffdhe3072 => 3072,
            Self::Ffdhe4096 => 4096,
            Self::Ffdhe6144 => 6144,
            Self::Ffdhe8192 => 8192,
        }
    }

    /// Bytes of its public values.
    pub(super) const fn value_len(self) -> usize {
        self.bits() as usize / 8
    }

    /// Bits of private values: twice the strength of the group, and a little for good measure (RFC 7919 section 5.2).
    const fn exponent_bits(self) -> u32 {
        match self {
            Self::Null => 0,
            Self::Ffdhe2048 => 256,
            Self::Ffdhe3072 => 288,
            Self::Ffdhe4096 => 352,
            Self::Ffdhe6144 => 384,
            Self::Ffdhe8192 => 416,
        }
    }

    /// Where its prime differs from the beginning of the largest one. All are made of the digits of e (RFC 7919 appendix A).
    const fn tail(self) -> &'static str {
        match self {
            Self::Null | Self::Ffdhe8192 => "",
            Self::Ffdhe2048 => "285C97FFFFFFFFFFFFFFFF",
            Self::Ffdhe3072 => "C62E37FFFFFFFFFFFFFFFF",
            Self::Ffdhe4096 => "655F6AFFFFFFFFFFFFFFFF",
            Self::Ffdhe6144 => "D0E40E65FFFFFFFFFFFFFFFF",
        }
    }

    fn prime(self) -> Odd<BoxedUint> {
        let (digits, tail) = (self.value_len() * 2, self.tail());
        let hex = format!("{}{tail}", &FFDHE8192[..digits - tail.len()]);
        let prime = BoxedUint::from_be_hex(&hex, self.bits()).expect("the constants are hexadecimal");
        Odd::new(prime).expect("primes of so many bits are odd")
    }

    /// What calculations modulo the prime need. It takes a while to find out.
    fn params(self) -> &'static BoxedMontyParams {
        static PARAMS: [OnceLock<BoxedMontyParams>; Group::ALL.len()] = [const { OnceLock::new() }; Group::ALL.len()];
        PARAMS[usize::from(self.id())].get_or_init(|| BoxedMontyParams::new_vartime(self.prime()))
    }
}

/// A private value of a group, for one exchange.
pub(super) struct PrivateValue {
    group: Group,
    exponent: Zeroizing<BoxedUint>,
}

impl PrivateValue {
    /// Draws one. None for [`Group::Null`], which has none.
    pub(super) fn draw(group: Group, rng: &mut impl Rng) -> Option<Self> {
        if group == Group::Null {
            return None;
        }
        let mut bytes = Zeroizing::new(vec![0; group.exponent_bits() as usize / 8]);
        rng.fill_bytes(&mut bytes);
        let exponent = BoxedUint::from_be_slice(&bytes, group.exponent_bits()).expect("as many bytes as bits");
        Some(Self { group, exponent: Zeroizing::new(exponent) })
    }

    /// The public value that goes with it: as long as the prime.
    pub(super) fn public(&self) -> Vec<u8> {
        self.power_of(BoxedUint::from(2u8).resize(self.group.bits())).to_vec()
    }

    /// What both ends have in common, given the other one's public value: as long as the prime. None if that value is none.
    pub(super) fn agree(&self, other: &[u8]) -> Option<Zeroizing<Box<[u8]>>> {
        if other.len() != self.group.value_len() {
            return None;
        }
        let value = BoxedUint::from_be_slice(other, self.group.bits()).ok()?;
        // Between 1 and the prime less one, exclusively: nothing else is safe (RFC 7919 section 5.1).
        let one = BoxedUint::one_with_precision(self.group.bits());
        let most = self.group.params().modulus().as_ref().wrapping_sub(&one);
        (one < value && value < most).then(|| self.power_of(value))
    }

    /// The time depends on the group alone.
    fn power_of(&self, base: BoxedUint) -> Zeroizing<Box<[u8]>> {
        let base = BoxedMontyForm::new(base, self.group.params());
        let power = Zeroizing::new(base.pow_bounded_exp(&self.exponent, self.group.exponent_bits()));
        Zeroizing::new(Zeroizing::new(power.retrieve()).to_be_bytes())
    }
}

impl std::fmt::Display for Group {
    /// As the configuration of the Linux target writes it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            group => write!(f, "ffdhe{}", group.bits()),
        }
    }
}

/// There is no such group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no DH group '{0}': it is null, ffdhe2048, ffdhe3072, ffdhe4096, ffdhe6144 or ffdhe8192")]
pub struct UnknownGroup(String);

impl std::str::FromStr for Group {
    type Err = UnknownGroup;

    fn from_str(name: &str) -> Result<Self, UnknownGroup> {
        Self::ALL.into_iter().find(|group| group.to_string() == name).ok_or_else(|| UnknownGroup(name.to_owned()))
    }
}

/// The prime of ffdhe8192 (RFC 7919 appendix A.5).
const FFDHE8192: &str = "\
    FFFFFFFFFFFFFFFFADF85458A2BB4A9AAFDC5620273D3CF1D8B9C583CE2D3695A9E13641146433FBCC939DCE249B3EF97D2FE363\
    630C75D8F681B202AEC4617AD3DF1ED5D5FD65612433F51F5F066ED0856365553DED1AF3B557135E7F57C935984F0C70E0E68B77\
    E2A689DAF3EFE8721DF158A136ADE73530ACCA4F483A797ABC0AB182B324FB61D108A94BB2C8E3FBB96ADAB760D7F4681D4F42A3\
    DE394DF4AE56EDE76372BB190B07A7C8EE0A6D709E02FCE1CDF7E2ECC03404CD28342F619172FE9CE98583FF8E4F1232EEF28183\
    C3FE3B1B4C6FAD733BB5FCBC2EC22005C58EF1837D1683B2C6F34A26C1B2EFFA886B4238611FCFDCDE355B3B6519035BBC34F4DE\
    F99C023861B46FC9D6E6C9077AD91D2691F7F7EE598CB0FAC186D91CAEFE130985139270B4130C93BC437944F4FD4452E2D74DD3\
    64F2E21E71F54BFF5CAE82AB9C9DF69EE86D2BC522363A0DABC521979B0DEADA1DBF9A42D5C4484E0ABCD06BFA53DDEF3C1B20EE\
    3FD59D7C25E41D2B669E1EF16E6F52C3164DF4FB7930E9E4E58857B6AC7D5F42D69F6D187763CF1D5503400487F55BA57E31CC7A\
    7135C886EFB4318AED6A1E012D9E6832A907600A918130C46DC778F971AD0038092999A333CB8B7A1A1DB93D7140003C2A4ECEA9\
    F98D0ACC0A8291CDCEC97DCF8EC9B55A7F88A46B4DB5A851F44182E1C68A007E5E0DD9020BFD64B645036C7A4E677D2C38532A3A\
    23BA4442CAF53EA63BB454329B7624C8917BDD64B1C0FD4CB38E8C334C701C3ACDAD0657FCCFEC719B1F5C3E4E46041F388147FB\
    4CFDB477A52471F7A9A96910B855322EDB6340D8A00EF092350511E30ABEC1FFF9E3A26E7FB29F8C183023C3587E38DA0077D9B4\
    763E4E4B94B2BBC194C6651E77CAF992EEAAC0232A281BF6B3A739C1226116820AE8DB5847A67CBEF9C9091B462D538CD72B0374\
    6AE77F5E62292C311562A846505DC82DB854338AE49F5235C95B91178CCF2DD5CACEF403EC9D1810C6272B045B3B71F9DC6B80D6\
    3FDD4A8E9ADB1E6962A69526D43161C1A41D570D7938DAD4A40E329CCFF46AAA36AD004CF600C8381E425A31D951AE64FDB23FCE\
    C9509D43687FEB69EDD1CC5E0B8CC3BDF64B10EF86B63142A3AB8829555B2F747C932665CB2C0F1CC01BD70229388839D2AF05E4\
    54504AC78B7582822846C0BA35C35F5C59160CC046FD8251541FC68C9C86B022BB7099876A460E7451A8A93109703FEE1C217E6C\
    3826E52C51AA691E0E423CFC99E9E31650C1217B624816CDAD9A95F9D5B8019488D9C0A0A1FE3075A577E23183F81D4A3F2FA457\
    1EFC8CE0BA8A4FE8B6855DFE72B0A66EDED2FBABFBE58A30FAFABE1C5D71A87E2F741EF8C1FE86FEA6BBFDE530677F0D97D11D49\
    F7A8443D0822E506A9F4614E011E2A94838FF88CD68C8BB7C5C6424CFFFFFFFFFFFFFFFF";

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::auth::Hash;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// SHA-256 of the primes as OpenSSL has them.
    #[test]
    fn primes_are_those_of_rfc_7919() {
        let expected = [
            "9cd3b7f336872f46c09428d1bbc19877a4d440512cda8d1c1cf0cd6e33698966",
            "0eaf67db3a839156d5013494a5318a772b5697d270d721f37f092efc69ea5a17",
            "4648414224ac881b3d0dc59b466f96d06a558278776807797ecf1f66ff397b3e",
            "227ac9066b3ddd9e193670cda2388fa884f65ba0cf98b742d1fe77a6687c79c7",
            "770b14efaf6f049929c523113b3fa99a8d11dab1b18af3609590122075d19833",
        ];
        for (group, digest) in Group::ALL[1..].iter().zip(expected) {
            assert_eq!(hex(&Hash::Sha256.digest(&group.prime().to_be_bytes())), digest, "{group}");
        }
    }

    /// Against Python's `pow`: SHA-256 of the public value and of the value in common with g^3,
    /// of the exponent 010203..., in each group.
    #[test]
    fn powers_are_right() {
        let expected = [
            (
                "53b37a098c5882b9f56495d787706d354ac8ebc273e680a7047c70228ce24ad3",
                "6505b163d15b14ab2bdd98b98fbb69595ce288f8b65f77de90511566b3c4533f",
            ),
            (
                "549d753447d187a708cf1c4af7682f12d3d35f41a60fb5c6db97db52d5775700",
                "b5c5517c5e5ba531853d69b05495fb83eccc50dd529e0c0f3c6bb81758e6975a",
            ),
            (
                "978f23f98b86f0e0acbc257150477924c2bb457b8f4246f48bcec16d3993f9c2",
                "cc32bbac18a196c87a4d66db5130d6a142cc11ce335e3894ed9e968e7f1280f9",
            ),
            (
                "e5399ad5c7e68ac67e5760de3eb7b14322a56fdaf1a3771922b707393e951e7f",
                "f6756ec67cd1b8bd2cdf8a5adb85fa946aa05ddccc94e4cdcef1418b9c11b533",
            ),
            (
                "6aa9735db54661a3c132149db749fe397ded2da1dac43a8af46d7067d91cc54c",
                "c91871c146cdb5025ac69b39517126ae98ef369e5e9c190b507066cad2a1e0e1",
            ),
        ];
        for (group, (public, common)) in Group::ALL[1..].iter().zip(expected) {
            let bytes: Vec<u8> = (1..=group.exponent_bits() as usize / 8).map(|byte| byte as u8).collect();
            let exponent = Zeroizing::new(BoxedUint::from_be_slice(&bytes, group.exponent_bits()).unwrap());
            let private = PrivateValue { group: *group, exponent };
            assert_eq!(hex(&Hash::Sha256.digest(&private.public())), public, "{group}");
            let mut eight = vec![0; group.value_len()];
            eight[group.value_len() - 1] = 8;
            assert_eq!(hex(&Hash::Sha256.digest(&private.agree(&eight).unwrap())), common, "{group}");
        }
    }

    #[test]
    fn both_ends_agree_and_values_that_betray_are_refused() {
        let mut rng = StdRng::seed_from_u64(7919);
        let group = Group::Ffdhe2048;
        let mut draw = || PrivateValue::draw(group, &mut rng).unwrap();
        let (one, other) = (draw(), draw());
        assert_ne!(one.public(), other.public());
        assert_eq!(one.agree(&other.public()).unwrap(), other.agree(&one.public()).unwrap());
        let len = group.value_len();
        let prime = group.prime().to_be_bytes();
        let mut before = prime.to_vec();
        before[len - 1] -= 1;
        let mut two = vec![0; len];
        assert!(one.agree(&two).is_none(), "0");
        two[len - 1] = 1;
        assert!(one.agree(&two).is_none(), "1");
        two[len - 1] = 2;
        assert!(one.agree(&two).is_some(), "2");
        for bad in [&before[..], &prime[..], &[0xff; 256], &two[1..], &[]] {
            assert!(one.agree(bad).is_none(), "{}", hex(bad));
        }
        assert!(PrivateValue::draw(Group::Null, &mut rng).is_none());
    }
}
