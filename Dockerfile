# The operator's image: one static binary, no shell, nobody's root.
FROM rust:1.95-alpine AS build
RUN apk add --no-cache musl-dev ca-certificates
WORKDIR /src
COPY . .
ARG COMMIT=unknown
ENV SWITCHYARD_COMMIT=${COMMIT}
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --package switchyard-cli \
    && cp target/release/switchyard /switchyard

FROM scratch
ARG COMMIT=unknown
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="switchyard" \
      org.opencontainers.image.description="Shifts GPU nodes between crypto mining and HPC/AI jobs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.url="https://switchyard.dev" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /switchyard /switchyard
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/switchyard"]
CMD ["controller"]
