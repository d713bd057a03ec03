//! Writes the files that tell a client where the API server is and who it is to it.

use std::fs;
use std::io;
use std::path::Path;

/// Who a kubeconfig speaks as.
pub(crate) enum User<'a> {
    Certificate { certificate: &'a Path, key: &'a Path },
    Token(&'a str),
}

pub(crate) fn write(
    path: &Path,
    server: &str,
    authority: &Path,
    user: &User<'_>,
) -> io::Result<()> {
    let user = match user {
        User::Certificate { certificate, key } => format!(
            "{{client-certificate: \"{}\", client-key: \"{}\"}}",
            certificate.display(),
            key.display()
        ),
        User::Token(token) => format!("{{token: \"{token}\"}}"),
    };
    let authority = authority.display();
    let text = format!(
        "apiVersion: v1
kind: Config
current-context: rig
contexts: [{{name: rig, context: {{cluster: rig, user: rig}}}}]
clusters: [{{name: rig, cluster: {{server: {server}, certificate-authority: \"{authority}\"}}}}]
users: [{{name: rig, user: {user}}}]
"
    );
    fs::write(path, text)
}
