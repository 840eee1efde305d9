# One image for every part: `docker run dicomrelay up`, `… gateway`, `… worker`, and so on.

FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /opt/dicomrelay
# Before the code, so that a change of code does not fetch the dependencies again.
COPY locks/runtime.txt locks/runtime.txt
RUN /opt/dicomrelay/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r locks/runtime.txt
COPY pyproject.toml README.md CHANGELOG.md LICENSE ./
COPY dicomrelay dicomrelay
COPY scp_gateway scp_gateway
COPY workers workers
COPY archive archive
COPY streamer streamer
COPY monitor monitor
RUN /opt/dicomrelay/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation .

FROM python:3.11-slim
# The folders of the home exist and are ours, so that volumes mounted on them are too, and the rest may be read-only.
RUN groupadd --system --gid 10001 relay \
 && useradd --system --uid 10001 --gid relay --home-dir /var/lib/dicomrelay --shell /usr/sbin/nologin relay \
 && cd /var/lib \
 && install -d -o relay -g relay -m 0700 dicomrelay dicomrelay/spool dicomrelay/archive dicomrelay/audit dicomrelay/db \
    dicomrelay/redis dicomrelay/logs dicomrelay/run dicomrelay/users dicomrelay/renditions dicomrelay/streamer \
    dicomrelay/viewers
COPY --from=build /opt/dicomrelay /opt/dicomrelay
ENV PATH=/opt/dicomrelay/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DICOMRELAY_HOME=/var/lib/dicomrelay
WORKDIR /var/lib/dicomrelay
USER 10001:10001
EXPOSE 11112 8080 5555
STOPSIGNAL SIGTERM
ENTRYPOINT ["dicomrelay"]
CMD ["up"]
# For `up`, which keeps this file while every part is ready. docker-compose.yml has a check for each part.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["test", "-e", "/var/lib/dicomrelay/run/ready"]
