//! The pattern names users expect, with expressions of our own that need no look-around.
//!
//! They are written from what the names are documented to mean. Where the usual ones look around themselves to
//! stop inside a longer word, ours end at an ASCII word border, which keeps the automaton small and quick.
//! Web server and syslog patterns fill the fields that Logstash has always filled (`clientip`, `verb`, ...), because
//! dashboards know those.

/// Name and pattern, by theme.
#[rustfmt::skip]
pub const PATTERNS: &[(&str, &str)] = &[
    // Words and numbers.
    ("USERNAME", r"[a-zA-Z0-9._-]+"),
    ("USER", r"%{USERNAME}"),
    ("EMAILLOCALPART", r"[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]+)*"),
    ("EMAILADDRESS", r"%{EMAILLOCALPART}@%{HOSTNAME}"),
    ("INT", r"[+-]?[0-9]+"),
    ("POSINT", r"(?-u:\b)[1-9][0-9]*(?-u:\b)"),
    ("NONNEGINT", r"(?-u:\b)[0-9]+(?-u:\b)"),
    ("BASE10NUM", r"[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"),
    ("NUMBER", r"%{BASE10NUM}"),
    ("BASE16NUM", r"[+-]?(?:0[xX])?[0-9A-Fa-f]+"),
    ("BASE16FLOAT", r"(?-u:\b)[+-]?(?:0[xX])?[0-9A-Fa-f]+(?:\.[0-9A-Fa-f]*)?(?-u:\b)"),
    ("BOOL", r"(?i:true|false)"),
    ("WORD", r"(?-u:\b)\w+(?-u:\b)"),
    ("NOTSPACE", r"\S+"),
    ("SPACE", r"\s*"),
    ("DATA", r".*?"),
    ("GREEDYDATA", r".*"),
    ("QUOTEDSTRING", r#"(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`)"#),
    ("QS", r"%{QUOTEDSTRING}"),
    ("UUID", r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}"),
    ("URN", r"urn:[0-9A-Za-z][0-9A-Za-z-]{0,31}:[0-9A-Za-z()+,.:=@;$_!*'/?#%-]+"),

    // Networks.
    ("CISCOMAC", r"(?:[A-Fa-f0-9]{4}\.){2}[A-Fa-f0-9]{4}"),
    ("WINDOWSMAC", r"(?:[A-Fa-f0-9]{2}-){5}[A-Fa-f0-9]{2}"),
    ("COMMONMAC", r"(?:[A-Fa-f0-9]{2}:){5}[A-Fa-f0-9]{2}"),
    ("MAC", r"(?:%{CISCOMAC}|%{WINDOWSMAC}|%{COMMONMAC})"),
    ("BYTE10", r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"),
    ("IPV4", r"(?-u:\b)(?:%{BYTE10}\.){3}%{BYTE10}(?-u:\b)"),
    ("HEX4", r"[0-9A-Fa-f]{1,4}"),
    // From the longest head before `::` down to none; the alternatives that take more come first.
    ("IPV6", concat!(
        r"(?:(?:%{HEX4}:){6}%{IPV4}|(?:%{HEX4}:){7}%{HEX4}",
        r"|(?:%{HEX4}:){1,6}(?::%{HEX4}){1}|(?:%{HEX4}:){1,5}(?::%{HEX4}){2}",
        r"|(?:%{HEX4}:){1,4}(?::%{HEX4}){3}|(?:%{HEX4}:){1,3}(?::%{HEX4}){4}",
        r"|(?:%{HEX4}:){1,2}(?::%{HEX4}){5}|%{HEX4}:(?::%{HEX4}){6}",
        r"|(?:%{HEX4}:){1,4}:(?:%{HEX4}:){0,1}%{IPV4}|::(?:%{HEX4}:){0,5}%{IPV4}",
        r"|::(?:%{HEX4}:){0,6}%{HEX4}|(?:%{HEX4}:){1,7}:|::)(?:%[0-9A-Za-z._-]+)?",
    )),
    ("IP", r"(?:%{IPV6}|%{IPV4})"),
    ("HOSTNAME", r"(?-u:\b)[0-9A-Za-z][0-9A-Za-z_-]*(?:\.[0-9A-Za-z_][0-9A-Za-z_-]*)*\.?"),
    ("HOST", r"%{HOSTNAME}"),
    ("IPORHOST", r"(?:%{IP}|%{HOSTNAME})"),
    ("HOSTPORT", r"%{IPORHOST}:%{POSINT}"),

    // Paths and addresses.
    ("UNIXPATH", r"(?:/[\w%!$@:.,+~-]*)+"),
    ("WINPATH", r"(?:[A-Za-z]+:|\\)(?:\\[^\\?*\s]*)+"),
    ("PATH", r"(?:%{UNIXPATH}|%{WINPATH})"),
    ("TTY", r"/dev/(?:pts|tty(?:[pq])?)(?:\w+)?/?(?:[0-9]+)?"),
    ("URIPROTO", r"[A-Za-z][A-Za-z0-9+.-]*"),
    ("URIHOST", r"%{IPORHOST}(?::%{POSINT})?"),
    ("URIPATH", r"(?:/[A-Za-z0-9$.+!*'(){},~:;=@#%&_-]*)+"),
    ("URIQUERY", r"[A-Za-z0-9$.+!*'|(){},~@#%&/=:;_?\[\]<>-]*"),
    ("URIPARAM", r"\?%{URIQUERY}"),
    ("URIPATHPARAM", r"%{URIPATH}(?:%{URIPARAM})?"),
    ("URI", r"%{URIPROTO}://(?:%{USER}(?::[^@\s]*)?@)?(?:%{URIHOST})?(?:%{URIPATH}(?:%{URIPARAM})?)?"),

    // Dates and times.
    ("MONTH", concat!(
        r"(?-u:\b)(?:[Jj]an(?:uary|uar)?|[Ff]eb(?:ruary|ruar)?|[Mm](?:a|ä)?r(?:ch|z)?|[Aa]pr(?:il)?|[Mm]a(?:y|i)|[Jj]une?|[Jj]uly?",
        r"|[Aa]ug(?:ust)?|[Ss]ep(?:tember|t)?|[Oo](?:c|k)t(?:ober)?|[Nn]ov(?:ember)?|[Dd]e(?:c|z)(?:ember)?)(?-u:\b)",
    )),
    ("MONTHNUM", r"(?:0?[1-9]|1[0-2])"),
    ("MONTHNUM2", r"(?:0[1-9]|1[0-2])"),
    ("MONTHDAY", r"(?:0[1-9]|[12][0-9]|3[01]|[1-9])"),
    ("DAY", r"(?:Mon(?:day)?|Tue(?:sday)?|Wed(?:nesday)?|Thu(?:rsday)?|Fri(?:day)?|Sat(?:urday)?|Sun(?:day)?)"),
    ("YEAR", r"(?:[0-9]{4}|[0-9]{2})"),
    ("HOUR", r"(?:2[0123]|[01]?[0-9])"),
    ("MINUTE", r"[0-5][0-9]"),
    ("SECOND", r"(?:[0-5]?[0-9]|60)(?:[:.,][0-9]+)?"),
    ("TIME", r"%{HOUR}:%{MINUTE}(?::%{SECOND})?"),
    ("DATE_US", r"%{MONTHNUM}[/-]%{MONTHDAY}[/-]%{YEAR}"),
    ("DATE_EU", r"%{MONTHDAY}[./-]%{MONTHNUM}[./-]%{YEAR}"),
    ("DATE", r"(?:%{DATE_US}|%{DATE_EU})"),
    ("DATESTAMP", r"%{DATE}[- ]%{TIME}"),
    ("ISO8601_TIMEZONE", r"(?:Z|[+-]%{HOUR}(?::?%{MINUTE})?)"),
    ("ISO8601_SECOND", r"%{SECOND}"),
    ("TIMESTAMP_ISO8601", r"[0-9]{4}-%{MONTHNUM}-%{MONTHDAY}[T ]%{HOUR}:?%{MINUTE}(?::?%{SECOND})?%{ISO8601_TIMEZONE}?"),
    ("ISO8601_TIMESTAMP", r"%{TIMESTAMP_ISO8601}"),
    ("TZ", r"[A-Z]{3,5}"),
    ("DATESTAMP_RFC822", r"%{DAY} %{MONTH} %{MONTHDAY} %{YEAR} %{TIME} %{TZ}"),
    ("DATESTAMP_RFC2822", r"%{DAY}, %{MONTHDAY} %{MONTH} %{YEAR} %{TIME} (?:%{ISO8601_TIMEZONE}|%{TZ})"),
    ("DATESTAMP_OTHER", r"%{DAY} %{MONTH} %{MONTHDAY} %{TIME} %{TZ} %{YEAR}"),
    ("DATESTAMP_EVENTLOG", r"[0-9]{4}%{MONTHNUM2}[0-9]{2}%{HOUR}%{MINUTE}[0-9]{2}"),
    ("HTTPDATE", r"%{MONTHDAY}/%{MONTH}/[0-9]{4}:%{TIME} %{INT}"),
    ("HTTPDERROR_DATE", r"%{DAY} %{MONTH} %{MONTHDAY} %{TIME} [0-9]{4}"),
    ("NGINXERROR_DATE", r"[0-9]{4}/%{MONTHNUM2}/%{MONTHDAY} %{TIME}"),
    ("LOGLEVEL", concat!(
        r"(?-u:\b)(?i:trace|debug|notice|information|info|warning|warn|error|err|critical|crit|fatal|severe",
        r"|emergency|emerg|alert|panic)(?-u:\b)",
    )),

    // Syslog.
    ("SYSLOGTIMESTAMP", r"%{MONTH} +%{MONTHDAY} %{TIME}"),
    ("PROG", r"[!-Z\\^-~]+?"),
    ("SYSLOGPROG", r"%{PROG:program}(?:\[%{POSINT:pid}\])?"),
    ("SYSLOGHOST", r"%{IPORHOST}"),
    ("SYSLOGFACILITY", r"<%{NONNEGINT:facility}\.%{NONNEGINT:priority}>"),
    ("SYSLOGBASE", r"%{SYSLOGTIMESTAMP:timestamp} (?:%{SYSLOGFACILITY} )?%{SYSLOGHOST:logsource} +%{SYSLOGPROG}:"),
    ("SYSLOGBASE2", r"(?:%{SYSLOGTIMESTAMP:timestamp}|%{TIMESTAMP_ISO8601:timestamp8601}) (?:%{SYSLOGFACILITY} )?%{SYSLOGHOST:logsource} +%{SYSLOGPROG}:"),
    ("SYSLOGLINE", r"%{SYSLOGBASE2} %{GREEDYDATA:message}"),
    ("SYSLOGPAMSESSION", r"%{SYSLOGBASE} pam_\w+\(%{DATA:pam_caller}\): session %{WORD:pam_session_state} for user %{USERNAME:username}"),
    ("CRON_ACTION", r"[A-Z ]+"),
    ("CRONLOG", r"%{SYSLOGBASE} \(%{USER:user}\) %{CRON_ACTION:action} \(%{DATA:text}\)"),
    ("SYSLOG5424PRINTASCII", r"[!-~]+"),
    ("SYSLOG5424PRI", r"<%{NONNEGINT:syslog5424_pri}>"),
    ("SYSLOG5424SD", r#"(?:\[(?:[^\]"\\]|\\.|"(?:[^"\\]|\\.)*")*\])+"#),
    ("SYSLOG5424BASE", concat!(
        r"%{SYSLOG5424PRI}%{NONNEGINT:syslog5424_ver} +(?:%{TIMESTAMP_ISO8601:syslog5424_ts}|-) +(?:%{IPORHOST:syslog5424_host}|-)",
        r" +(?:-|%{SYSLOG5424PRINTASCII:syslog5424_app}) +(?:-|%{SYSLOG5424PRINTASCII:syslog5424_proc})",
        r" +(?:-|%{SYSLOG5424PRINTASCII:syslog5424_msgid}) +(?:%{SYSLOG5424SD:syslog5424_sd}|-|)",
    )),
    ("SYSLOG5424LINE", r"%{SYSLOG5424BASE} +%{GREEDYDATA:syslog5424_msg}"),

    // Web servers.
    ("HTTPDUSER", r"(?:%{EMAILADDRESS}|%{USER})"),
    ("HTTPD_REQUEST", r"(?:%{WORD:verb} %{NOTSPACE:request}(?: HTTP/%{NUMBER:httpversion})?|%{DATA:rawrequest})"),
    ("HTTPD_COMMONLOG", concat!(
        r"%{IPORHOST:clientip} %{HTTPDUSER:ident} %{HTTPDUSER:auth} \[%{HTTPDATE:timestamp}\]",
        r#" "%{HTTPD_REQUEST}" (?:-|%{NUMBER:response}) (?:-|%{NUMBER:bytes})"#,
    )),
    ("HTTPD_COMBINEDLOG", r"%{HTTPD_COMMONLOG} %{QS:referrer} %{QS:agent}"),
    ("COMMONAPACHELOG", r"%{HTTPD_COMMONLOG}"),
    ("COMBINEDAPACHELOG", r"%{HTTPD_COMBINEDLOG}"),
    ("HTTPD20_ERRORLOG", r"\[%{HTTPDERROR_DATE:timestamp}\] \[%{LOGLEVEL:loglevel}\] (?:\[client %{IPORHOST:clientip}\] )?%{GREEDYDATA:errormsg}"),
    ("HTTPD24_ERRORLOG", concat!(
        r"\[%{HTTPDERROR_DATE:timestamp}\] \[(?:%{WORD:module})?:%{LOGLEVEL:loglevel}\] \[pid %{POSINT:pid}(?::tid %{NONNEGINT:tid})?\]",
        r"(?: \(%{POSINT:proxy_errorcode}\)%{DATA:proxy_errormessage}:)?(?: \[client %{IPORHOST:clientip}:%{POSINT:clientport}\])?",
        r"(?: %{HTTPD_ERRORCODE:errorcode}:)? %{GREEDYDATA:errormsg}",
    )),
    ("HTTPD_ERRORCODE", r"AH[0-9]+"),
    ("HTTPD_ERRORLOG", r"(?:%{HTTPD20_ERRORLOG}|%{HTTPD24_ERRORLOG})"),
    ("NGINXACCESS", r"%{HTTPD_COMBINEDLOG}"),
    ("NGINXERROR", r"%{NGINXERROR_DATE:timestamp} \[%{LOGLEVEL:level}\] %{POSINT:pid:int}#%{NONNEGINT:tid:int}: (?:\*%{NONNEGINT:connection:int} )?%{GREEDYDATA:text}"),
    ("HAPROXYTIME", r"%{HOUR}:%{MINUTE}(?::%{SECOND})"),
    ("HAPROXYDATE", r"%{MONTHDAY}/%{MONTH}/[0-9]{4}:%{HAPROXYTIME}"),

    // Programs.
    ("POSTGRESQL", concat!(
        r"(?P<timestamp>[0-9]{4}-%{MONTHNUM}-%{MONTHDAY} %{TIME}(?: %{TZ})?) \[%{POSINT:pid}\](?: %{USERNAME:user}@%{USERNAME:database})?",
        r" (?P<level>[A-Z]+[0-9]?): +%{GREEDYDATA:text}",
    )),
    ("REDISTIMESTAMP", r"%{MONTHDAY} %{MONTH}(?: [0-9]{4})? %{TIME}"),
    ("REDISLOG", r"%{POSINT:pid}:(?P<role>[A-Z]) %{REDISTIMESTAMP:timestamp} (?P<level>[.*#-]) %{GREEDYDATA:text}"),
    ("MONGO3_SEVERITY", r"\w"),
    ("MONGO3_COMPONENT", r"\w+|-"),
    ("MONGO3_LOG", r"%{TIMESTAMP_ISO8601:timestamp} +%{MONGO3_SEVERITY:severity} +(?:%{MONGO3_COMPONENT:component}) +(?:\[%{DATA:context}\])? %{GREEDYDATA:message}"),
    ("RUBY_LOGLEVEL", r"(?:DEBUG|FATAL|ERROR|WARN|INFO)"),
    ("RUBY_LOGGER", r"[DFEWI], \[%{TIMESTAMP_ISO8601:timestamp} *#%{POSINT:pid}\] +%{RUBY_LOGLEVEL:loglevel} -- +%{DATA:progname}: %{GREEDYDATA:message}"),

    // Java.
    ("JAVACLASS", r"(?:[A-Za-z$_][A-Za-z$_0-9]*\.)*[A-Za-z$_][A-Za-z$_0-9]*"),
    ("JAVAFILE", r"[A-Za-z$_0-9. -]+"),
    ("JAVAMETHOD", r"(?:<(?:cl)?init>|[A-Za-z$_][A-Za-z$_0-9]*)"),
    ("JAVASTACKTRACEPART", r"\s*at %{JAVACLASS:class}\.%{JAVAMETHOD:method}\(%{JAVAFILE:file}(?::%{INT:line})?\)"),
    ("JAVATHREAD", r"[^\]]+"),
    ("JAVALOGMESSAGE", r".*"),
    ("CATALINA_DATESTAMP", r"%{MONTHDAY}-%{MONTH}-[0-9]{4} %{TIME}"),
    ("CATALINALOG", r"%{CATALINA_DATESTAMP:timestamp} %{LOGLEVEL:level} \[%{JAVATHREAD:thread}\] %{JAVACLASS:class}\.%{JAVAMETHOD:method} %{JAVALOGMESSAGE:logmessage}"),
    ("TOMCAT_DATESTAMP", r"%{TIMESTAMP_ISO8601}(?: %{ISO8601_TIMEZONE})?"),
    ("TOMCATLOG", r"%{TOMCAT_DATESTAMP:timestamp} \| %{LOGLEVEL:level} \| %{JAVACLASS:class} - %{JAVALOGMESSAGE:logmessage}"),
];
