//! Whether this processor can run this build.
//!
//! The build uses x86-64-v3 throughout, so the question is asked with `cpuid`
//! itself, first thing in `main`: the standard library's own detection is
//! answered at compile time for features that the build takes for granted.

/// What x86-64-v3 adds and this processor lacks; empty on other architectures.
#[cfg(target_arch = "x86_64")]
#[must_use]
pub fn missing() -> Vec<&'static str> {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    if __cpuid(0).eax < 7 {
        return vec!["AVX2"];
    }
    let (basic, extended, amd) = (__cpuid(1).ecx, __cpuid_count(7, 0).ebx, __cpuid(0x8000_0001).ecx);
    // SOURCE: x86-64 psABI, micro-architecture levels; Intel SDM vol. 2, CPUID.
    let needed = [
        ("FMA", basic, 12),
        ("MOVBE", basic, 22),
        ("OSXSAVE", basic, 27),
        ("AVX", basic, 28),
        ("F16C", basic, 29),
        ("BMI1", extended, 3),
        ("AVX2", extended, 5),
        ("BMI2", extended, 8),
        ("LZCNT", amd, 5),
    ];
    needed.into_iter().filter(|(_, register, bit)| register >> bit & 1 == 0).map(|(name, ..)| name).collect()
}

/// Other architectures are built for their baseline.
#[cfg(not(target_arch = "x86_64"))]
#[must_use]
pub const fn missing() -> Vec<&'static str> {
    Vec::new()
}
