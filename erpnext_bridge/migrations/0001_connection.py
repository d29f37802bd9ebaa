import django.db.models.deletion
import django.utils.timezone
import erpnext_bridge.tokens.crypto
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Connection',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('site', models.CharField(help_text="Alias of the site in ERPNEXT_BRIDGE['SITES'].", max_length=64)),
                ('site_url', models.CharField(help_text='Where the tokens were issued; they are sent nowhere else.', max_length=500)),
                ('erp_user', models.CharField(max_length=140, verbose_name='ERPNext user')),
                ('full_name', models.CharField(blank=True, max_length=255)),
                ('access_token', erpnext_bridge.tokens.crypto.EncryptedTextField(editable=False)),
                ('refresh_token', erpnext_bridge.tokens.crypto.EncryptedTextField(blank=True, editable=False)),
                ('expires_at', models.DateTimeField(help_text='When the access token expires; it is refreshed before.')),
                ('scopes', models.CharField(blank=True, max_length=500)),
                ('health', models.CharField(choices=[('healthy', 'healthy'), ('degraded', 'works, but could not be refreshed'), ('needs_reconnect', 'needs to be connected again'), ('revoked', 'was revoked at ERPNext')], default='healthy', max_length=20)),
                ('reason', models.CharField(blank=True, help_text='Why it is not healthy.', max_length=500)),
                ('connected_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('refreshed_at', models.DateTimeField(blank=True, null=True)),
                ('lease', models.CharField(blank=True, editable=False, max_length=32)),
                ('leased_until', models.DateTimeField(blank=True, editable=False, null=True)),
                ('failures', models.PositiveIntegerField(default=0, editable=False, help_text='Refreshes in a row that came to nothing.')),
                ('next_refresh_at', models.DateTimeField(blank=True, editable=False, help_text='No refresh is tried before, after one has failed.', null=True)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='erpnext_connections', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('user', 'site'), name='erpnext_bridge_connection_user_site')],
            },
        ),
        migrations.CreateModel(
            name='PendingRevocation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('site', models.CharField(help_text="Alias of the site in ERPNEXT_BRIDGE['SITES'].", max_length=64)),
                ('site_url', models.CharField(help_text='Where the tokens were issued; they are sent nowhere else.', max_length=500)),
                ('erp_user', models.CharField(blank=True, max_length=140, verbose_name='ERPNext user')),
                ('cause', models.CharField(choices=[('disconnected', 'disconnected'), ('superseded', 'replaced by newer tokens'), ('unused', 'issued, and never used')], max_length=20)),
                ('access_token', erpnext_bridge.tokens.crypto.EncryptedTextField(editable=False)),
                ('refresh_token', erpnext_bridge.tokens.crypto.EncryptedTextField(blank=True, editable=False)),
                ('attempts', models.PositiveIntegerField(default=0)),
                ('next_attempt_at', models.DateTimeField(db_index=True, default=django.utils.timezone.now)),
                ('last_error', models.CharField(blank=True, max_length=500)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
    ]
