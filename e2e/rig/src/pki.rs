//! The certificates and keys of one control plane, made for it and gone with it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// A certificate authority and the folder it issues into: `NAME.crt` and `NAME.key`.
pub(crate) struct Pki {
    dir: PathBuf,
    authority: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate could not be made or written.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The cryptography refused.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The file system refused.
    #[error("cannot write a certificate: {0}; is there space in the temporary directory?")]
    Write(#[from] io::Error),
}

impl Pki {
    /// A new authority: `ca.crt`, and no key on disk.
    pub(crate) fn create(dir: PathBuf) -> Result<Self, PkiError> {
        fs::create_dir(&dir)?;
        let mut params = parameters("switchyard-rig", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        fs::write(dir.join("ca.crt"), authority.pem())?;
        Ok(Self { dir, authority })
    }

    /// What servers on this machine show.
    pub(crate) fn serving(&self, name: &str) -> Result<(), PkiError> {
        let mut params = parameters(name, None);
        params.subject_alt_names =
            CertificateParams::new(["localhost", "127.0.0.1"].map(str::to_owned))?
                .subject_alt_names;
        self.issue(name, params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// What a client shows, who is `user` and perhaps in `group` to Kubernetes.
    pub(crate) fn client(
        &self,
        name: &str,
        user: &str,
        group: Option<&str>,
    ) -> Result<(), PkiError> {
        self.issue(name, parameters(user, group), ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// The pair that signs and checks service account tokens: `NAME.key` and `NAME.pub`.
    pub(crate) fn signing_key(&self, name: &str) -> Result<(), PkiError> {
        let key = KeyPair::generate()?;
        fs::write(key_of(&self.dir, name), key.serialize_pem())?;
        fs::write(self.dir.join(format!("{name}.pub")), key.public_key_pem())?;
        Ok(())
    }

    fn issue(
        &self,
        name: &str,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<(), PkiError> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.authority)?;
        fs::write(certificate_of(&self.dir, name), certificate.pem())?;
        fs::write(key_of(&self.dir, name), key.serialize_pem())?;
        Ok(())
    }
}

pub(crate) fn certificate_of(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.crt"))
}

pub(crate) fn key_of(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.key"))
}

fn parameters(user: &str, group: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, user);
    if let Some(group) = group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params
}
