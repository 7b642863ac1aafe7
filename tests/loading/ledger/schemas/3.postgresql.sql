CREATE TABLE files (
	path TEXT NOT NULL, 
	size BIGINT NOT NULL, 
	modified_ns BIGINT NOT NULL, 
	digest TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	recipe TEXT NOT NULL, 
	PRIMARY KEY (path, recipe)
);
CREATE TABLE runs (
	no SERIAL NOT NULL, 
	run_id TEXT NOT NULL, 
	prepared_at FLOAT NOT NULL, 
	PRIMARY KEY (no), 
	UNIQUE (run_id)
);
CREATE TABLE schema_version (
	version INTEGER NOT NULL
);
CREATE TABLE transactions (
	external_id TEXT NOT NULL, 
	hash BYTEA NOT NULL, 
	state TEXT NOT NULL, 
	attempts INTEGER NOT NULL, 
	status SMALLINT, 
	words TEXT, 
	batch TEXT, 
	run_no INTEGER NOT NULL, 
	at INTEGER NOT NULL, 
	PRIMARY KEY (external_id)
);
CREATE INDEX transactions_in_trouble ON transactions (run_no) WHERE state IN ('refused', 'failed', 'missing', 'differing');
CREATE TABLE parts (
	run_no INTEGER NOT NULL, 
	part INTEGER NOT NULL, 
	size INTEGER NOT NULL, 
	watermark INTEGER NOT NULL, 
	below_delivered INTEGER NOT NULL, 
	below_unchanged INTEGER NOT NULL, 
	below_refused INTEGER NOT NULL, 
	below_failed INTEGER NOT NULL, 
	below_held INTEGER NOT NULL, 
	all_delivered INTEGER NOT NULL, 
	all_unchanged INTEGER NOT NULL, 
	all_refused INTEGER NOT NULL, 
	all_failed INTEGER NOT NULL, 
	all_held INTEGER NOT NULL, 
	owner TEXT, 
	leased_until FLOAT DEFAULT '0' NOT NULL, 
	PRIMARY KEY (run_no, part), 
	FOREIGN KEY(run_no) REFERENCES runs (no)
);
INSERT INTO "files" VALUES('/exports/1.csv',10,5,'d','20240701T000000-0001','r');
INSERT INTO "runs" (run_id, prepared_at) VALUES('20240701T000000-0001',1719792000.0);
INSERT INTO "schema_version" VALUES(3);
INSERT INTO "transactions" VALUES('A-1','\xB61EAA70CC7514C6E3F962A562A0D144','delivered',1,200,NULL,NULL,1,1719792000);
INSERT INTO "transactions" VALUES('A-2','\x9CB342E8837AEB6C7A6903A020644BD0','refused',1,422,'{"message": "no"}',NULL,1,1719792000);
INSERT INTO "transactions" VALUES('A-3','\x9AE1300C8D94FADECC22CAD26BC6BAB0','sending',1,NULL,NULL,NULL,1,1719792000);
INSERT INTO "parts" VALUES(1,0,3,2,1,0,1,0,0,1,0,1,0,0,NULL,0.0);
