# What a 64-bit ARM board needs to check and run models: no torch.
#   docker buildx build --platform linux/arm64 -f docker/arm64.Dockerfile -t latentbit-board .
#   docker run --rm -v "$PWD:/data" latentbit-board check demo.zip
FROM --platform=linux/arm64 python:3.13-slim
COPY . /src
RUN pip install --no-cache-dir "/src[images]" && rm -rf /src
RUN useradd --create-home latentbit && mkdir /data && chown latentbit /data
USER latentbit
WORKDIR /data
ENTRYPOINT ["latentbit"]
CMD ["classify", "zoo:digits"]
