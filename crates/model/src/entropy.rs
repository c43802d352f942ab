use std::fmt::Debug;

/// Where randomness comes from: ids and tokens are drawn from it. The binary passes the kernel's generator,
/// which must be cryptographically strong because access tokens are drawn from it too.
pub trait Entropy: Debug + Send + Sync + 'static {
    /// Fills `bytes` with random data.
    fn fill(&self, bytes: &mut [u8]);

    /// `N` random bytes.
    fn bytes<const N: usize>(&self) -> [u8; N]
    where
        Self: Sized,
    {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}
