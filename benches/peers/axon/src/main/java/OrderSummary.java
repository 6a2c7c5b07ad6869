// Axon Framework rebuilds order-summary's two tables: a PooledStreamingEventProcessor over a JdbcEventStorageEngine.
//
// java -cp ... OrderSummary HOST PORT USER DATABASE EVENTS.jsonl BATCH
//
// The tables are there and empty. Prints {"events": …, "seconds": …}; storing the events is not timed. Rows and token of
// a batch are one transaction; its statements are sent as JDBC batches when it is prepared for commit.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.sql.Types;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.axonframework.common.jdbc.ConnectionProvider;
import org.axonframework.common.jdbc.DataSourceConnectionProvider;
import org.axonframework.common.jdbc.UnitOfWorkAwareConnectionProviderWrapper;
import org.axonframework.common.transaction.NoTransactionManager;
import org.axonframework.eventhandling.EventHandler;
import org.axonframework.eventhandling.EventMessage;
import org.axonframework.eventhandling.GenericDomainEventMessage;
import org.axonframework.eventhandling.PropagatingErrorHandler;
import org.axonframework.eventhandling.SimpleEventHandlerInvoker;
import org.axonframework.eventhandling.pooled.PooledStreamingEventProcessor;
import org.axonframework.eventhandling.tokenstore.jdbc.JdbcTokenStore;
import org.axonframework.eventhandling.tokenstore.jdbc.PostgresTokenTableFactory;
import org.axonframework.eventsourcing.eventstore.EmbeddedEventStore;
import org.axonframework.eventsourcing.eventstore.jdbc.JdbcEventStorageEngine;
import org.axonframework.eventsourcing.eventstore.jdbc.PostgresEventTableFactory;
import org.axonframework.messaging.unitofwork.CurrentUnitOfWork;
import org.axonframework.messaging.unitofwork.DefaultUnitOfWork;
import org.axonframework.messaging.unitofwork.RollbackConfigurationType;
import org.axonframework.messaging.unitofwork.UnitOfWork;
import org.axonframework.serialization.json.JacksonSerializer;

public final class OrderSummary {
    private static final Map<String, String> STATUS =
            Map.of("OrderPlaced", "placed", "OrderCancelled", "credited", "AdjustmentPosted", "adjusted");
    private static final int STORED_AT_ONCE = 1000;
    private static final int WAIT_SECONDS_MAX = 120;

    /** One event of the log. */
    public record Recorded(
            String order,
            String kind,
            String customer,
            String country,
            Long quantity,
            String price,
            String occurredAt) {}

    /** The two tables: what a batch does to them, sent when it is prepared for commit. */
    public static final class View {
        private static final String RESOURCE = "order-summary's statements";
        private final ConnectionProvider connections;
        private final CountDownLatch left;

        View(ConnectionProvider connections, CountDownLatch left) {
            this.connections = connections;
            this.left = left;
        }

        @EventHandler
        public void on(Recorded event) throws SQLException {
            // The batch's, not the message's.
            UnitOfWork<?> batch = CurrentUnitOfWork.get().root();
            Statements statements = batch.getResource(RESOURCE);
            if (statements == null) {
                statements = new Statements(connections.getConnection());
                batch.resources().put(RESOURCE, statements);
                Statements all = statements;
                batch.onPrepareCommit(work -> all.send());
                batch.afterCommit(work -> all.done.forEach(done -> left.countDown()));
            }
            statements.add(event);
        }
    }

    /** Statements of one batch. A line's customer is that of its order's row, found by the statement itself. */
    private static final class Statements {
        private final List<Recorded> done = new ArrayList<>();
        private final PreparedStatement open;
        private final PreparedStatement customer;
        private final PreparedStatement line;

        Statements(Connection connection) throws SQLException {
            open = connection.prepareStatement("INSERT INTO orders VALUES (?, ?, ?, 0, 0, 0, ?, ?)");
            customer = connection.prepareStatement(
                    "INSERT INTO customers VALUES (?, 1, 0, 0, 0, 0, 0) "
                            + "ON CONFLICT (customer_id) DO UPDATE SET orders = customers.orders + 1");
            line = connection.prepareStatement(
                    "WITH line AS (UPDATE orders SET lines = lines + 1, quantity = quantity + ?, "
                            + "total = total + ?::numeric WHERE order_id = ? RETURNING customer_id, status) "
                            + "UPDATE customers SET lines = lines + 1, quantity = quantity + ?, net = net + ?::numeric, "
                            + "ordered = ordered + CASE line.status WHEN 'placed' THEN ?::numeric ELSE 0 END, "
                            + "returned = returned + CASE line.status WHEN 'credited' THEN ?::numeric ELSE 0 END "
                            + "FROM line WHERE customers.customer_id = line.customer_id");
        }

        void add(Recorded event) throws SQLException {
            done.add(event);
            String status = STATUS.get(event.kind());
            if (status != null) {
                open.setString(1, event.order());
                open.setString(2, event.customer());
                open.setString(3, event.country());
                open.setString(4, status);
                open.setObject(5, OffsetDateTime.parse(event.occurredAt()), Types.TIMESTAMP_WITH_TIMEZONE);
                open.addBatch();
                if (event.customer() != null) {
                    customer.setString(1, event.customer());
                    customer.addBatch();
                }
            }
            if (event.quantity() != null) {
                var amount = new java.math.BigDecimal(event.price()).multiply(new java.math.BigDecimal(event.quantity()));
                line.setLong(1, event.quantity());
                line.setBigDecimal(2, amount);
                line.setString(3, event.order());
                line.setLong(4, event.quantity());
                line.setBigDecimal(5, amount);
                line.setBigDecimal(6, amount);
                line.setBigDecimal(7, amount);
                line.addBatch();
            }
        }

        /** All orders, all customers, all lines: the sums do not depend on the order within a batch. */
        void send() {
            try (open;
                    customer;
                    line) {
                open.executeBatch();
                customer.executeBatch();
                line.executeBatch();
            } catch (SQLException error) {
                throw new IllegalStateException(error);
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        String url = "jdbc:postgresql://" + arguments[0] + ":" + arguments[1] + "/" + arguments[3];
        HikariConfig config = new HikariConfig();
        config.setJdbcUrl(url);
        config.setUsername(arguments[2]);
        try (HikariDataSource pool = new HikariDataSource(config)) {
            var connections = new UnitOfWorkAwareConnectionProviderWrapper(new DataSourceConnectionProvider(pool));
            var serializer = JacksonSerializer.defaultSerializer();
            var engine = JdbcEventStorageEngine.builder()
                    .eventSerializer(serializer)
                    .snapshotSerializer(serializer)
                    .connectionProvider(connections)
                    .transactionManager(NoTransactionManager.INSTANCE)
                    .batchSize(Math.max(100, Integer.parseInt(arguments[5])))
                    .build();
            var tokens = JdbcTokenStore.builder()
                    .connectionProvider(connections)
                    .serializer(serializer)
                    .build();
            engine.createSchema(PostgresEventTableFactory.INSTANCE);
            tokens.createSchema(PostgresTokenTableFactory.INSTANCE);
            var store = EmbeddedEventStore.builder().storageEngine(engine).build();
            int events = store(store, Path.of(arguments[4]));

            CountDownLatch left = new CountDownLatch(events);
            var coordinator = Executors.newSingleThreadScheduledExecutor();
            var workers = Executors.newScheduledThreadPool(1);
            long began = System.nanoTime();
            var processor = PooledStreamingEventProcessor.builder()
                    .name("order-summary")
                    .eventHandlerInvoker(SimpleEventHandlerInvoker.builder()
                            .eventHandlers(new View(connections, left))
                            .build())
                    .rollbackConfiguration(RollbackConfigurationType.ANY_THROWABLE)
                    .errorHandler(PropagatingErrorHandler.instance())
                    .messageSource(store)
                    .tokenStore(tokens)
                    .transactionManager(NoTransactionManager.INSTANCE)
                    .coordinatorExecutor(coordinator)
                    .workerExecutor(workers)
                    // Customers are shared by orders: several segments would wait for each other's rows.
                    .initialSegmentCount(1)
                    .initialToken(source -> source.createTailToken())
                    .batchSize(Integer.parseInt(arguments[5]))
                    .build();
            processor.start();
            boolean isDone = left.await(WAIT_SECONDS_MAX, TimeUnit.SECONDS);
            double seconds = (System.nanoTime() - began) / 1e9;
            processor.shutDown();
            store.shutDown();
            coordinator.shutdown();
            workers.shutdown();
            if (!isDone) {
                System.err.println(left.getCount() + " events are left after " + WAIT_SECONDS_MAX + " s");
                System.exit(1);
            }
            System.out.println("{\"events\": " + events + ", \"seconds\": " + seconds + "}");
        }
        System.exit(0);
    }

    /** Stores the events as aggregates would; gives how many. */
    private static int store(EmbeddedEventStore store, Path file) throws Exception {
        ObjectMapper json = new ObjectMapper();
        Map<String, Long> sequences = new HashMap<>();
        List<EventMessage<?>> waiting = new ArrayList<>();
        List<String> lines = Files.readAllLines(file);
        for (String line : lines) {
            JsonNode told = json.readTree(line);
            JsonNode data = told.get("data");
            String order = told.get("stream_id").asText();
            var event = new Recorded(
                    order,
                    told.get("event_type").asText(),
                    text(data, "customer_id"),
                    text(data, "country"),
                    data.has("quantity") ? data.get("quantity").asLong() : null,
                    text(data, "unit_price"),
                    told.get("occurred_at").asText());
            long sequence = sequences.merge(order, 1L, Long::sum) - 1;
            waiting.add(new GenericDomainEventMessage<>("order", order, sequence, event));
            if (waiting.size() == STORED_AT_ONCE) {
                publish(store, waiting);
            }
        }
        publish(store, waiting);
        return lines.size();
    }

    private static void publish(EmbeddedEventStore store, List<EventMessage<?>> waiting) {
        DefaultUnitOfWork.startAndGet(null).execute(() -> store.publish(waiting));
        waiting.clear();
    }

    private static String text(JsonNode data, String field) {
        JsonNode value = data.get(field);
        return value == null || value.isNull() ? null : value.asText();
    }

    private OrderSummary() {}
}
