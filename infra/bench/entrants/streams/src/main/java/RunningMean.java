import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/** Kafka Streams, exactly_once_v2, one thread: Avro in, a running mean by key in a logged store, Avro out. */
public final class RunningMean {
  private static final byte[] FRAME = {0, 0, 0, 0, 7};

  private final GenericDatumReader<GenericRecord> reader;
  private final GenericDatumWriter<GenericRecord> writer;
  private final ByteArrayOutputStream out = new ByteArrayOutputStream(2048);
  private BinaryDecoder decoder;
  private BinaryEncoder encoder;

  private RunningMean(Schema schema) {
    reader = new GenericDatumReader<>(schema);
    writer = new GenericDatumWriter<>(schema);
  }

  private GenericRecord decode(byte[] value) {
    try {
      if (!ByteBuffer.wrap(value, 0, 5).equals(ByteBuffer.wrap(FRAME))) {
        throw new IOException("another framing");
      }
      decoder = DecoderFactory.get().binaryDecoder(value, 5, value.length - 5, decoder);
      return reader.read(null, decoder);
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  private byte[] encode(GenericRecord record) {
    try {
      out.reset();
      out.write(FRAME);
      encoder = EncoderFactory.get().binaryEncoder(out, encoder);
      writer.write(record, encoder);
      encoder.flush();
      return out.toByteArray();
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  /** Bytes in, bytes out, so that every entrant decodes and encodes in its own step. */
  private static final class Mean implements Processor<byte[], byte[], byte[], byte[]> {
    private final RunningMean work;
    private ProcessorContext<byte[], byte[]> context;
    private KeyValueStore<byte[], byte[]> store;

    Mean(Schema schema) {
      work = new RunningMean(schema);
    }

    @Override
    public void init(ProcessorContext<byte[], byte[]> given) {
      context = given;
      store = given.getStateStore("means");
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
      GenericRecord scored = work.decode(record.value());
      byte[] before = store.get(record.key());
      ByteBuffer known = before == null ? ByteBuffer.allocate(16) : ByteBuffer.wrap(before);
      long count = known.getLong() + 1;
      double total = known.getDouble() + (Double) scored.get("score");
      store.put(record.key(), ByteBuffer.allocate(16).putLong(count).putDouble(total).array());
      scored.put("score", total / count);
      context.forward(record.withValue(work.encode(scored)));
    }
  }

  public static void main(String[] arguments) throws Exception {
    Map<String, String> env = System.getenv();
    Schema schema = new Schema.Parser().parse(env.get("SCHEMA"));
    Properties settings = new Properties();
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, env.get("GROUP"));
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, env.get("BROKER"));
    settings.put(StreamsConfig.STATE_DIR_CONFIG, env.get("FOLDER"));
    settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
    settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
    settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
    settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 64 << 20);
    settings.put("auto.offset.reset", "earliest");
    settings.put(StreamsConfig.producerPrefix("batch.size"), 256 << 10);
    settings.put(StreamsConfig.producerPrefix("linger.ms"), 100);
    settings.put(StreamsConfig.producerPrefix("buffer.memory"), 64 << 20);
    settings.put(StreamsConfig.consumerPrefix("max.poll.records"), 1_000);
    Topology topology = new Topology();
    topology.addSource("in", new ByteArrayDeserializer(), new ByteArrayDeserializer(), env.get("IN"));
    topology.addProcessor("mean", () -> new Mean(schema), "in");
    topology.addStateStore(
        Stores.keyValueStoreBuilder(
                Stores.persistentKeyValueStore("means"), Serdes.ByteArray(), Serdes.ByteArray())
            .withCachingEnabled(),
        "mean");
    topology.addSink("out", env.get("OUT"), new ByteArraySerializer(), new ByteArraySerializer(), "mean");
    KafkaStreams streams = new KafkaStreams(topology, settings);
    CountDownLatch ended = new CountDownLatch(1);
    Runtime.getRuntime()
        .addShutdownHook(
            new Thread(
                () -> {
                  streams.close(Duration.ofSeconds(20));
                  ended.countDown();
                }));
    streams.start();
    ended.await();
  }
}
