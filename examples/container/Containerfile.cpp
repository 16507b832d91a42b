# A C++ handler in a container: built with Bulkhead, run by a user who may little, on what it needs and no more.
#
#   podman build -f examples/container/Containerfile.cpp -t echo .         from the project's root; docker build likewise
#   podman run --rm echo --test_input '{"input": {"hello": "you"}}'
#   podman run --rm -p 8000:8000 -e BULKHEAD_API_KEYS=me=SOME-LONG-KEY --entrypoint bulkhead echo serve --listen 0.0.0.0:8000 -- echo-handler

FROM debian:12-slim AS build
WORKDIR /src
COPY . .
RUN script/bootstrap demo
RUN meson setup /build --prefix=/usr --libdir=lib -Dbuildtype=release -Dtests=disabled -Dsystemd=disabled \
 && ninja -C /build && DESTDIR=/installed meson install -C /build --no-rebuild --strip \
 && install -Ds /build/examples/echo/echo /installed/usr/bin/echo-handler

FROM debian:12-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends libboost-json1.81.0 libcurl4 libdw1 libsimdjson14 libspdlog1.10 libsqlite3-0 \
      libssl3 libtomlplusplus3 libzmq5 ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --create-home --home-dir /var/lib/bulkhead bulkhead
COPY --from=build /installed/usr/bin /usr/bin
COPY --from=build /installed/usr/lib /usr/lib
COPY --from=build /installed/usr/libexec /usr/libexec
USER bulkhead
WORKDIR /var/lib/bulkhead
ENV BULKHEAD_STATE_DIR=/var/lib/bulkhead/state
VOLUME /var/lib/bulkhead
STOPSIGNAL SIGTERM
# Of an endpoint (serve). A worker of a platform (run) has none: the platform hears of it by its pings.
HEALTHCHECK --interval=10s --start-period=5m CMD ["bulkhead", "health"]
ENTRYPOINT ["bulkhead", "run", "--", "echo-handler"]
